//! Reading and writing files.

use cargo_target_test::{
    ErrorKind, Result,
    connect::{
        FileMode,
        files::{self, Piece},
    },
};

use super::*;

async fn put(transport: &dyn Transport, path: &str, pieces: Vec<Piece>) -> Result<()> {
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        for piece in pieces {
            let _ = sender.send(piece).await;
        }
    });
    files::put(transport, "", path, FileMode::Set(0o640), receiver).await
}

async fn get(transport: &dyn Transport, path: &str) -> Result<Vec<u8>> {
    let (sender, mut receiver) = mpsc::channel(2);
    let collect = async {
        let mut all = Vec::new();
        while let Some(bytes) = receiver.recv().await {
            all.extend(bytes);
        }
        all
    };
    let (result, all) = tokio::join!(files::get(transport, "", path, sender), collect);
    result.map(|()| all)
}

#[test]
fn files_with_unusual_names_round_trip() {
    block_on(on_each(async |transport, folder| {
        let bytes = noise(700_001);
        for name in [
            "plain",
            "with space",
            "it's \"q\" $x `y` \\",
            "-f",
            "grün ☃",
            "*?[a]!",
        ] {
            let path = folder.join(name);
            let path = path.to_str().unwrap();
            let halves = [bytes[..300].to_vec(), bytes[300..].to_vec()].map(Piece::Data);
            put(
                &*transport,
                path,
                halves.into_iter().chain([Piece::End]).collect(),
            )
            .await
            .unwrap();
            assert!(fs::read(path).unwrap() == bytes, "{name}");
            assert!(get(&*transport, path).await.unwrap() == bytes, "{name}");
        }
        let path = folder.join("empty");
        put(&*transport, path.to_str().unwrap(), vec![Piece::End])
            .await
            .unwrap();
        assert_eq!(get(&*transport, path.to_str().unwrap()).await.unwrap(), b"");
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o640
        );
        for entry in fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(
                !name.to_string_lossy().starts_with(".target-test"),
                "{name:?} was left"
            );
            fs::remove_file(folder.join(name)).unwrap();
        }
    }));
}

#[test]
fn invalid_paths_are_errors() {
    block_on(on_each(async |transport, folder| {
        let folder = folder.to_str().unwrap();
        let missing = format!("{folder}/missing");
        for (path, text) in [
            (missing.as_str(), "file not found"),
            (folder, "is a directory"),
            ("rel", "not absolute"),
        ] {
            let error = get(&*transport, path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains(text), "{error}");
        }
        let below = format!("{folder}/missing/file");
        for (path, text) in [
            (below.as_str(), "parent folder not found"),
            (folder, "is a directory"),
            ("/a\nb", "newline"),
        ] {
            let error = put(&*transport, path, vec![Piece::Data(noise(9)), Piece::End])
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains(text), "{error}");
        }
    }));
}

#[test]
fn an_aborted_transfer_leaves_the_old_file() {
    block_on(on_each(async |transport, folder| {
        let path = folder.join("file");
        fs::write(&path, "old").unwrap();
        let error = put(
            &*transport,
            path.to_str().unwrap(),
            vec![Piece::Data(noise(100_000))],
        )
        .await;
        assert!(error.unwrap_err().to_string().contains("aborted"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_file(path).unwrap();
    }));
}

#[test]
fn a_cancelled_transfer_leaves_no_partial_file() {
    block_on(on_each(async |transport, folder| {
        let path = folder.join("file");
        let files = || fs::read_dir(&folder).unwrap().count();
        let (sender, receiver) = mpsc::channel(2);
        sender.send(Piece::Data(noise(1000))).await.unwrap();
        let put = files::put(
            &*transport,
            "",
            path.to_str().unwrap(),
            FileMode::Set(0o640),
            receiver,
        );
        tokio::select! {
            put = put => panic!("{put:?}"),
            () = eventually("a partial file", || files() == 1) => {}
        }
        eventually("the removal of the partial file", || files() == 0).await;
    }));
}
