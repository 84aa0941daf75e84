//! `targets --watch`.

use rustix::process::Signal;

use super::world;
use crate::support::Terminal;

#[test]
fn on_a_terminal_it_is_redrawn_in_place() {
    if !Terminal::is_here() {
        return;
    }
    let world = world();
    world.run(&["quick[east]", "--keep-targets"]).code(0);
    let terminal = Terminal::open(world.tool(&["targets", "--watch"]));
    terminal.wait_for("east-0  local");
    world.run(&["--delete-targets"]).code(0);
    terminal.wait_for("no targets");
    let screen = terminal.screen();
    assert!(!screen.contains("east-0"), "{screen}");
    terminal.key("C-c");
    assert_eq!(terminal.code(), 130);
    let screen = terminal.screen();
    let lines: Vec<_> = screen.split_whitespace().collect();
    assert_eq!(lines, ["no", "targets", "^C"], "{screen}");
}

#[test]
fn elsewhere_it_is_one_after_the_other() {
    let world = world();
    world.run(&["quick[east]", "--keep-targets"]).code(0);
    let mut watch = world.tool(&["targets", "--watch"]).start();
    watch.wait_for("east-0");
    world.run(&["--delete-targets"]).code(0);
    watch.wait_for("no targets");
    assert!(!watch.printed().contains('\x1b'));
    watch.signal(Signal::INT);
    watch.wait().code(130);
    let mut json = world.tool(&["targets", "--watch", "--json"]).start();
    json.wait_for("[]\n[]\n");
    json.signal(Signal::INT);
    json.wait().code(130);
}
