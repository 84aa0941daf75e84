//! An instance's files, for a test.
//!
//! Owns the author's calls. Must not know how files travel.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{Result, Target, output::text};
use crate::{
    client::{Call, unexpected},
    error::{ErrorKind, TargetError},
    wire::{Reply, Request},
};

impl Target {
    /// Copies a file or a folder of this side to an absolute path on the instance, with permissions and symbolic links as
    /// they are. A file appears at once, when it is complete. A folder that is not there is made, with the permissions of the
    /// one here; one that is there keeps its own, and what is in it; what is no file, folder or symbolic link is left out. Content that is there already is
    /// not sent again. A path with a newline or a NUL is refused.
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
    /// [`ErrorKind::File`] when there is none here, [`ErrorKind::Request`] when it cannot be read or written.
    pub fn put(&self, local: impl AsRef<Path>, remote: impl Into<String>) -> Result<()> {
        let local = local.as_ref();
        fs::metadata(local).map_err(|error| file("read", local, &error))?;
        let request = Request::Upload {
            instance: self.instance().to_owned(),
            from: absolute(local)?,
            to: remote.into(),
        };
        match self.client.ask(request)? {
            Reply::Answer { .. } => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Writes a file on the instance, with permissions 0644. It appears at once, when it is complete.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] when it cannot be written.
    pub fn write(&self, remote: impl Into<String>, content: impl AsRef<[u8]>) -> Result<()> {
        self.write_with_mode(remote, content, 0o644)
    }

    /// The same, with other permissions: `0o755`. Nobody else can read it before it has them.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] when it cannot be written.
    pub fn write_with_mode(
        &self,
        remote: impl Into<String>,
        content: impl AsRef<[u8]>,
        mode: u32,
    ) -> Result<()> {
        let request = Request::Put {
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

    /// Copies a file or a folder of the instance to a path of this side, with permissions and symbolic links as they are.
    /// A file appears at once, when it is complete. A folder that is not there is made, with the permissions of the
    /// instance's; one that is there keeps its own, and what is in it; what is no file, folder or symbolic link is left out. Nothing of it
    /// is written outside.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] when it cannot be read, [`ErrorKind::File`] when there is no folder for it here.
    pub fn get(&self, remote: impl Into<String>, local: impl AsRef<Path>) -> Result<()> {
        let local = local.as_ref();
        let to = absolute(local)?;
        let folder = Path::new(&to).parent().unwrap_or(Path::new("/"));
        fs::metadata(folder).map_err(|error| file("write", local, &error))?;
        done(self.client.ask(Request::Download {
            instance: self.instance().to_owned(),
            from: remote.into(),
            to,
        })?)
    }

    /// The text of a file on the instance; what is no UTF-8 is replaced by `U+FFFD`.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] when it cannot be read.
    pub fn cat(&self, remote: impl Into<String>) -> Result<String> {
        Ok(text(&self.read(remote)?))
    }

    /// The bytes of a file on the instance.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] when it cannot be read.
    pub fn read(&self, remote: impl Into<String>) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let request = Request::Get {
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

/// A path of this side for the broker, which is in another folder.
fn absolute(path: &Path) -> Result<String> {
    let path: PathBuf = std::path::absolute(path).map_err(|error| file("use", path, &error))?;
    path.into_os_string().into_string().map_err(|path| {
        let what = format!("use `{}`: its name is no UTF-8", path.display());
        TargetError::new(ErrorKind::File, what)
    })
}

/// An error of this side.
pub(super) fn file(what: &str, path: &Path, error: &io::Error) -> TargetError {
    let what = format!("{what} `{}`: {error}", path.display());
    TargetError::new(ErrorKind::File, what)
}
