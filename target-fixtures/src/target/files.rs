//! The methods of [`Target`] for files.
//!
//! Must not know how files are transferred.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{Result, Target, output::text};
use crate::{
    client::{Call, unexpected},
    error::{ErrorKind, TargetError},
    wire::{BrokerRequest, Reply},
};

impl Target {
    /// Copies a local file or folder to an absolute path on the instance.
    ///
    /// Preserves permissions and symbolic links. Files are written atomically. A missing folder is created with the
    /// permissions of the local one; an existing folder keeps its permissions and its other content. Only files,
    /// folders and symbolic links are copied. Unchanged content is not sent again. Paths that contain a newline or NUL
    /// are rejected.
    ///
    /// ```no_run
    /// # use target_fixtures::prelude::*;
    /// # fn test(target: &Target) -> Result<()> {
    /// target.put("target/release/agent", "/usr/local/bin/agent")?;
    /// target.put("tests/data", "/srv/data")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::File`] if the local path does not exist, [`ErrorKind::Request`] if a file cannot be read or
    /// written.
    pub fn put(&self, local: impl AsRef<Path>, remote: impl Into<String>) -> Result<()> {
        let local = local.as_ref();
        fs::metadata(local).map_err(|error| file("read", local, &error))?;
        let request = BrokerRequest::Upload {
            instance: self.instance().to_owned(),
            from: absolute(local)?,
            to: remote.into(),
        };
        match self.client.ask(request)? {
            Reply::Answer { .. } => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Writes a file on the instance atomically, at an absolute path, with permissions 0644.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the path is not absolute or the file cannot be written.
    pub fn write(&self, remote: impl Into<String>, content: impl AsRef<[u8]>) -> Result<()> {
        self.write_with_mode(remote, content, 0o644)
    }

    /// Writes a file on the instance atomically, with the given permissions, such as `0o755`. Other users cannot read
    /// the file before the permissions are set.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the file cannot be written.
    pub fn write_with_mode(
        &self,
        remote: impl Into<String>,
        content: impl AsRef<[u8]>,
        mode: u32,
    ) -> Result<()> {
        let request = BrokerRequest::Put {
            instance: self.instance().to_owned(),
            path: remote.into(),
            mode,
        };
        let mut content = content.as_ref();
        let call = Call {
            request,
            upload: Some(&mut content as &mut (dyn Read + Send)),
            piece: &mut |_, _| Ok(()),
        };
        done(self.client.call(call)?)
    }

    /// Copies a file or folder of the instance to a local path.
    ///
    /// Preserves permissions and symbolic links. Files are written atomically. A missing folder is created with the
    /// permissions of the one on the instance; an existing folder keeps its permissions and its other content. Only
    /// files, folders and symbolic links are copied. Nothing is written outside the local path.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if a file cannot be read, [`ErrorKind::File`] if the parent folder of the local path does
    /// not exist.
    pub fn get(&self, remote: impl Into<String>, local: impl AsRef<Path>) -> Result<()> {
        let local = local.as_ref();
        let to = absolute(local)?;
        let folder = Path::new(&to).parent().unwrap_or(Path::new("/"));
        fs::metadata(folder).map_err(|error| file("write", local, &error))?;
        done(self.client.ask(BrokerRequest::Download {
            instance: self.instance().to_owned(),
            from: remote.into(),
            to,
        })?)
    }

    /// Reads a text file on the instance; invalid UTF-8 is replaced by `U+FFFD`.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the file cannot be read.
    pub fn cat(&self, remote: impl Into<String>) -> Result<String> {
        Ok(text(&self.read(remote)?))
    }

    /// Reads a file on the instance.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the file cannot be read.
    pub fn read(&self, remote: impl Into<String>) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let request = BrokerRequest::Get {
            instance: self.instance().to_owned(),
            path: remote.into(),
        };
        let call = Call {
            request,
            upload: None,
            piece: &mut |_, piece| {
                content.extend_from_slice(piece);
                Ok(())
            },
        };
        done(self.client.call(call)?)?;
        Ok(content)
    }
}

fn done(reply: Reply) -> Result<()> {
    match reply {
        Reply::Done => Ok(()),
        other => Err(unexpected(other)),
    }
}

/// Makes a local path absolute for the broker, which runs in another folder.
fn absolute(path: &Path) -> Result<String> {
    let path: PathBuf = std::path::absolute(path).map_err(|error| file("use", path, &error))?;
    path.into_os_string().into_string().map_err(|path| {
        let what = format!("use `{}`: the path is not UTF-8", path.display());
        TargetError::new(ErrorKind::File, what)
    })
}

/// The error of a local file.
pub(super) fn file(what: &str, path: &Path, error: &io::Error) -> TargetError {
    let what = format!("{what} `{}`: {error}", path.display());
    TargetError::new(ErrorKind::File, what)
}
