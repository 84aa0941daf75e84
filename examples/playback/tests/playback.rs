//! The events of `orchestration/descriptions/my_orchestration_test.json`, and the fixtures that they take.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use target_fixtures::prelude::*;

orchestration!(
    "my_orchestration_test",
    area = "perf",
    programs = ["player"]
);

/// A player on the target, with a folder of clips.
#[derive(Serialize, Deserialize)]
struct VideoPlayer {
    program: String,
    clips: String,
}

/// Sends the player and a clip to the target, once for the whole orchestration.
#[target_fixture(tear_down = remove_clips)]
fn video_player(target: &Target) -> Result<VideoPlayer> {
    let clips = target.run("mktemp -d")?.stdout.trim_end().to_owned();
    let clip = [&b"clip 40 1024\n"[..], &[7; 8 * 1024]].concat();
    target.write(format!("{clips}/high_res_clip.mp4"), clip)?;
    let program = target.program_path("player")?;
    Ok(VideoPlayer { program, clips })
}

fn remove_clips(target: &Target, player: &VideoPlayer) -> Result<()> {
    target.run(format!("rm -r {}", player.clips))?;
    Ok(())
}

/// Samples the load of the machine for as long as the orchestration lasts.
#[target_fixture(tear_down = stop_collecting)]
fn device_with_collectd(target: &Target) -> Result<String> {
    let samples = target.run("mktemp")?.stdout.trim_end().to_owned();
    target.run(format!("cat /proc/loadavg >> {samples}"))?;
    Ok(samples)
}

fn stop_collecting(target: &Target, samples: &str) -> Result<()> {
    target.run(format!("test -s {samples} && rm {samples}"))?;
    Ok(())
}

/// Plays the clip once.
#[target_event]
fn start_playback(
    target: &Target,
    video_player: &VideoPlayer,
    video_path: PathBuf,
    kill_switch: &KillSwitch,
    result_reporter: &Reporter,
) -> Result<()> {
    if kill_switch.is_set() {
        return Ok(());
    }
    let clip = video_path.file_name().unwrap_or_default();
    let clip = PathBuf::from(&video_player.clips).join(clip);
    let played = target
        .program(&video_player.program)
        .arg(clip.to_string_lossy())
        .run()?;
    let words: Vec<_> = played.stdout.split_whitespace().collect();
    let ["shown", shown, "dropped", dropped, ..] = words.as_slice() else {
        result_reporter.error(format!("unexpected output: {}", played.stdout));
        return Ok(());
    };
    result_reporter.record("frames-shown", shown.parse()?, "frames");
    result_reporter.record("frames-dropped", dropped.parse()?, "frames");
    Ok(())
}

/// Sends frames through a pipe until the orchestration ends.
#[target_event]
fn start_streamer(
    target: &Target,
    kill_switch: &KillSwitch,
    result_reporter: &Reporter,
) -> Result<()> {
    let mut streamer = target.command("cat > /dev/null").spawn()?;
    let mut sent = 0;
    while !kill_switch.wait(Duration::from_millis(100)) {
        streamer.write(vec![7; 1024])?;
        sent += 1;
    }
    streamer.kill()?;
    result_reporter.info(format!("sent {sent} frames"));
    Ok(())
}

/// Reports the state of the system at the end.
#[target_event]
fn collect_system_report(target: &Target, result_reporter: &Reporter) -> Result<()> {
    let load = target.run("uname -r; cat /proc/loadavg")?.stdout;
    result_reporter.info(load.trim_end().replace('\n', ", load "));
    Ok(())
}
