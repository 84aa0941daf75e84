//! The accelerator of an instance: decides if KVM is usable. Must not start processes.

use std::fs;

use super::parameters::Accel;
use crate::error::{Error, ErrorKind, Result};

/// Returns the accelerator's name for QEMU.
///
/// # Errors
/// The reason that KVM is unusable, if the playbook requires it.
pub(super) fn choose(wanted: Accel) -> Result<&'static str> {
    match (wanted, kvm_problem()) {
        (Accel::Tcg, _) | (Accel::Auto, Some(_)) => Ok("tcg"),
        (_, None) => Ok("kvm"),
        (Accel::Kvm, Some(problem)) => Err(Error::new(
            ErrorKind::Infra,
            format!("KVM cannot be used: {problem}"),
        )
        .with_hint("`accel = \"tcg\"` emulates the processor, slowly and everywhere")),
    }
}

/// The reason that guests cannot run on KVM here, if any. A device that opens, and even creates machines, is not
/// enough: a KVM without the processor's virtualisation emulates every privileged instruction, and common kernels stop
/// there.
fn kvm_problem() -> Option<String> {
    if let Err(error) = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
    {
        return Some(format!("/dev/kvm: {error}"));
    }
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    (cfg!(target_arch = "x86_64") && !has_virtualisation(&cpu)).then(|| {
        "/dev/kvm is there, but this host's processor has neither `vmx` nor `svm`".to_owned()
    })
}

fn has_virtualisation(cpuinfo: &str) -> bool {
    let mut flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
    flags.any(|line| {
        line.split_whitespace()
            .any(|flag| matches!(flag, "vmx" | "svm"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_decides() {
        assert!(has_virtualisation("processor: 0\nflags\t\t: fpu vmx sse\n"));
        assert!(has_virtualisation("flags: svm"));
        assert!(!has_virtualisation("flags: fpu svm_lock\nbugs: vmx"));
    }
}
