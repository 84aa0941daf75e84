//! The platforms of one tool, by name.

use std::{path::PathBuf, sync::Arc};

use super::{
    DynPlatform, Platform, command::CommandPlatform, container::ContainerPlatform,
    environment::EnvironmentPlatform, erased::Erased, local::LocalPlatform, qemu::QemuPlatform,
    ssh::SshPlatform,
};
use crate::{
    error::{Error, Result},
    playbook::{ENVIRONMENT, PlatformSyntax},
};

/// The platforms that a tool knows, and the path of that tool. Cheap to clone.
#[derive(Clone)]
pub struct Platforms {
    all: Vec<Arc<dyn DynPlatform>>,
    /// Creates environments from machines of all platforms.
    environment: Arc<dyn DynPlatform>,
    tool: Option<PathBuf>,
}

impl Default for Platforms {
    /// The built-in platforms.
    fn default() -> Self {
        Self::none()
            .with(LocalPlatform)
            .with(SshPlatform)
            .with(CommandPlatform)
            .with(QemuPlatform)
            .with(ContainerPlatform)
    }
}

impl Platforms {
    /// No platforms.
    pub fn none() -> Self {
        Self {
            all: Vec::new(),
            environment: Arc::new(Erased(EnvironmentPlatform(Vec::new()))),
            tool: std::env::current_exe().ok(),
        }
    }

    /// Adds a platform; replaces one of the same name.
    #[must_use]
    pub fn with(mut self, platform: impl Platform) -> Self {
        self.all.retain(|other| other.name() != platform.name());
        self.all.push(Arc::new(Erased(platform)));
        self.environment = Arc::new(Erased(EnvironmentPlatform(self.all.clone())));
        self
    }

    /// The names of platforms that are not built in, sorted.
    pub fn added(&self) -> Vec<&'static str> {
        let built_in = Self::default();
        let names = self.all.iter().map(|platform| platform.name());
        let mut added: Vec<_> = names.filter(|name| built_in.get(name).is_none()).collect();
        added.sort_unstable();
        added
    }

    /// The platform of environments.
    pub(crate) fn environment(&self) -> &Arc<dyn DynPlatform> {
        &self.environment
    }

    /// All platforms of machines, in the order in which they were added.
    pub fn all(&self) -> &[Arc<dyn DynPlatform>] {
        &self.all
    }

    /// The platform of this name, or that of environments; `None` if the tool does not know it.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn DynPlatform>> {
        if name == ENVIRONMENT {
            return Some(&self.environment);
        }
        self.all.iter().find(|platform| platform.name() == name)
    }

    /// The platform of this name.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`](crate::ErrorKind::Infra) if the tool does not know it; the hint names `maker`, the tool
    /// that created the instance.
    pub fn known(&self, name: &str, maker: Option<&str>) -> Result<&Arc<dyn DynPlatform>> {
        self.get(name).ok_or_else(|| {
            let message = format!("its platform `{name}` is unknown to this tool");
            let hint = match maker {
                Some(maker) => format!("it was created by `{maker}`: use that tool"),
                None => "it was created by another version of cargo-target-test: use that version"
                    .to_owned(),
            };
            Error::infra(message).with_hint(hint)
        })
    }

    /// The platforms as the playbook sees them.
    pub fn syntax(&self) -> Vec<&dyn PlatformSyntax> {
        let all = self.all.iter();
        all.map(|platform| &**platform as &dyn PlatformSyntax)
            .collect()
    }

    /// The path of the tool's program, for the records of its instances; `None` if unknown.
    pub fn tool(&self) -> Option<String> {
        let tool = self.tool.as_ref()?;
        Some(tool.to_string_lossy().into_owned())
    }
}
