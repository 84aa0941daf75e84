//! The methods of [`Target`] for files.
//!
//! Must not know how files are transferred.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    Result, Target,
    output::{KEEP, text},
};
use crate::{
    client::{Call, unexpected},
    error::{ErrorKind, Placed, TargetError},
    wire::{BrokerRequest, Reply},
};

impl Target {
    /// Copies a local file or folder to an absolute path on the instance.
    ///
    /// New files and folders get the permissions of the local ones; what exists keeps its permissions, its owner, and a
    /// folder its other content. Only files, folders and symbolic links are copied, and symbolic links in a folder as
    /// links. Unchanged content is not sent again. Paths that contain a newline or NUL are rejected.
    ///
    /// Files are written as `cp` and `sftp` would. A symbolic link at the path is followed to its end; a link to a
    /// missing file is an error. A file is replaced atomically, so a running program can be replaced, and a failed
    /// transfer leaves the old file. It is written in place if it is a device or a FIFO, a mount point, has several
    /// links or an access control list, belongs to another user, or if its folder is not writable. A file that the user
    /// may not write is an error. A `put` program of platform `command` has its own rules.
    ///
    /// ```no_run
    /// # use target_fixtures::prelude::*;
    /// # fn test(target: &Target) -> Result<()> {
    /// target.put("tests/app.conf", "/etc/app.conf")?;
    /// target.put("tests/data", "/srv/data")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::File`] if the local path does not exist, [`ErrorKind::Request`] if a file cannot be read or
    /// written.
    #[track_caller]
    pub fn put(&self, local: impl AsRef<Path>, remote: impl AsRef<Path>) -> Result<()> {
        let local = local.as_ref();
        fs::metadata(local)
            .map_err(|error| file("read", local, &error))
            .placed()?;
        let request = BrokerRequest::Upload {
            instance: self.instance().to_owned(),
            from: absolute(local)?,
            to: on_instance(remote.as_ref())?,
        };
        match self.client.ask(request)? {
            Reply::Answer { .. } => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Writes a file on the instance, at an absolute path, as [`put`](Self::put) does. A new file gets permissions 0644.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the path is not absolute or the file cannot be written.
    #[track_caller]
    pub fn write(&self, remote: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
        self.write_file(remote.as_ref(), content.as_ref(), None)
    }

    /// Writes a file on the instance as [`put`](Self::put) does, with the given permissions, such as `0o755`. Other users
    /// cannot read a new file before the permissions are set.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the file cannot be written.
    #[track_caller]
    pub fn write_with_mode(
        &self,
        remote: impl AsRef<Path>,
        content: impl AsRef<[u8]>,
        mode: u32,
    ) -> Result<()> {
        self.write_file(remote.as_ref(), content.as_ref(), Some(mode))
    }

    #[track_caller]
    fn write_file(&self, path: &Path, mut content: &[u8], mode: Option<u32>) -> Result<()> {
        let request = BrokerRequest::Put {
            instance: self.instance().to_owned(),
            path: on_instance(path)?,
            mode,
        };
        let call = Call {
            request,
            upload: Some(&mut content as &mut (dyn Read + Send)),
            piece: &mut |_, _| Ok(()),
        };
        done(self.client.call(call)?)
    }

    /// Copies a file or folder of the instance to a local path.
    ///
    /// Files are written as [`put`](Self::put) does. New files and folders get the permissions of those on the instance;
    /// what exists keeps its permissions, its owner, and a folder its other content. Only files, folders and symbolic
    /// links are copied. Nothing is written outside the local path: a link in it that leads outside is replaced.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if a file cannot be read, [`ErrorKind::File`] if the parent folder of the local path does
    /// not exist.
    #[track_caller]
    pub fn get(&self, remote: impl AsRef<Path>, local: impl AsRef<Path>) -> Result<()> {
        let local = local.as_ref();
        let to = absolute(local)?;
        let folder = Path::new(&to).parent().unwrap_or(Path::new("/"));
        fs::metadata(folder)
            .map_err(|error| file("write", local, &error))
            .placed()?;
        done(self.client.ask(BrokerRequest::Download {
            instance: self.instance().to_owned(),
            from: on_instance(remote.as_ref())?,
            to,
        })?)
    }

    /// Reads a text file on the instance, without the line breaks at its end, as `$(cat file)` does. Invalid UTF-8 is
    /// replaced by `U+FFFD`. [`read_to_string`](Self::read_to_string) returns the whole text.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the file cannot be read.
    #[track_caller]
    pub fn cat(&self, remote: impl AsRef<Path>) -> Result<String> {
        let mut text = text(&self.read(remote)?);
        text.truncate(text.trim_end_matches('\n').len());
        Ok(text)
    }

    /// Reads a text file on the instance.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the file cannot be read, or is not UTF-8.
    #[track_caller]
    pub fn read_to_string(&self, remote: impl AsRef<Path>) -> Result<String> {
        let remote = remote.as_ref();
        String::from_utf8(self.read(remote)?)
            .map_err(|_| {
                let what = format!(
                    "read `{}` on `{}`: not UTF-8",
                    remote.display(),
                    self.instance()
                );
                TargetError::new(ErrorKind::Request, what)
            })
            .placed()
    }

    /// Reads a file on the instance, of at most 64 MiB. [`get`](Self::get) copies files of any size.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the file cannot be read, or is larger.
    #[track_caller]
    pub fn read(&self, remote: impl AsRef<Path>) -> Result<Vec<u8>> {
        let (mut content, mut too_large) = (Vec::new(), false);
        let path = on_instance(remote.as_ref())?;
        let request = BrokerRequest::Get {
            instance: self.instance().to_owned(),
            path: path.clone(),
        };
        let call = Call {
            request,
            upload: None,
            piece: &mut |_, piece| {
                too_large = content.len() + piece.len() > KEEP;
                if too_large {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                content.extend_from_slice(piece);
                Ok(())
            },
        };
        let reply = self.client.call(call);
        if too_large {
            let (instance, most) = (self.instance(), KEEP >> 20);
            let what = format!("read `{path}` on `{instance}`: larger than {most} MiB");
            let error = TargetError::new(ErrorKind::Request, what);
            return Err(error.with_hint("copy it with `target.get`")).placed();
        }
        done(reply?)?;
        Ok(content)
    }
}

#[track_caller]
fn done(reply: Reply) -> Result<()> {
    match reply {
        Reply::Done => Ok(()),
        other => Err(unexpected(other)),
    }
}

/// Makes a local path absolute for the broker, which runs in another folder.
#[track_caller]
fn absolute(path: &Path) -> Result<String> {
    let path: PathBuf = std::path::absolute(path)
        .map_err(|error| file("use", path, &error))
        .placed()?;
    text_of(&path, ErrorKind::File)
}

/// Returns a path on an instance as text.
#[track_caller]
pub(super) fn on_instance(path: &Path) -> Result<String> {
    text_of(path, ErrorKind::Request)
}

#[track_caller]
fn text_of(path: &Path, kind: ErrorKind) -> Result<String> {
    let text = path.to_str().map(str::to_owned).ok_or_else(|| {
        let what = format!("use `{}`: the path is not UTF-8", path.display());
        TargetError::new(kind, what)
    });
    text.placed()
}

/// The error of a local file.
pub(super) fn file(what: &str, path: &Path, error: &io::Error) -> TargetError {
    let what = format!("{what} `{}`: {error}", path.display());
    TargetError::new(ErrorKind::File, what)
}
