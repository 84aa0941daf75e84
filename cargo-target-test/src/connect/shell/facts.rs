//! The facts of a machine: the script that prints them and the parser of its output. Unknown facts are left out.
//!
//! Must not know who needs the facts.

use std::collections::BTreeMap;

/// The script that prints the facts of the machine as `key=value` lines. Memory and disk are in KiB.
///
/// A machine without `/proc`, `nproc`, `df` or `os-release` has fewer facts.
pub(crate) const FACTS: &str = "if command -v nproc >/dev/null; then echo cores=$(nproc); \
     elif [ -r /proc/cpuinfo ]; then echo cores=$(grep -c ^processor /proc/cpuinfo); fi; \
     if [ -r /proc/meminfo ]; then while read -r k v _; do \
       if [ \"$k\" = MemTotal: ]; then echo memory=$v; break; fi; done </proc/meminfo; fi; \
     echo arch=$(uname -m); echo kernel=$(uname -r); \
     if [ -r /etc/os-release ]; then (. /etc/os-release; echo os=\"$ID $VERSION_ID\"); else echo os=$(uname -s); fi; \
     if [ -d /sys/class/net ]; then n=0; for i in /sys/class/net/*; do \
       if [ -d $i ] && [ ${i##*/} != lo ]; then n=$((n+1)); fi; done; echo nics=$n; fi; \
     if command -v df >/dev/null; then df -Pk / | while read -r _ k _; do echo disk=$k; done; fi; \
     if l=$(getconf GNU_LIBC_VERSION 2>/dev/null); then echo libc=\"$l\"; \
     else for l in /lib/ld-musl-*; do if [ -e \"$l\" ]; then echo libc=musl; fi; done; fi; \
     if [ -r /proc/sys/kernel/random/boot_id ]; then read -r b </proc/sys/kernel/random/boot_id; echo boot-id=$b; fi";

/// The script that prints what two addresses of one machine have in common: boot id, and pid and network namespaces.
///
/// Prints nothing on a machine that is not Linux.
pub(crate) const SYSTEM: &str = "if [ -r /proc/sys/kernel/random/boot_id ] && [ -L /proc/self/ns/pid ]; then \
     read -r b </proc/sys/kernel/random/boot_id; \
     echo \"$b $(readlink /proc/self/ns/pid) $(readlink /proc/self/ns/net)\"; fi";

/// The script that prints further facts, which only a question needs.
pub(super) const MORE: &str = "echo hostname=$(uname -n); \
     if [ -r /proc/uptime ]; then read -r u _ </proc/uptime; echo uptime=${u%%.*}; fi";

/// Parses the output of [`FACTS`] and of `MORE`: values by key. Memory and disk are in bytes.
///
/// Lines with other keys, and numbers that are invalid, are left out; no machine has 0 cores, or no memory.
pub(crate) fn facts(text: &str) -> BTreeMap<String, String> {
    super::pairs(text)
        .filter_map(|(key, value)| Some((key.to_owned(), fact(key, value)?)))
        .collect()
}

fn fact(key: &str, value: &str) -> Option<String> {
    let number = value.parse::<u64>().ok();
    match key {
        "arch" | "boot-id" | "hostname" | "kernel" | "libc" | "os" => Some(value.to_owned()),
        "nics" | "uptime" => Some(number?.to_string()),
        "cores" => Some(number.filter(|cores| *cores > 0)?.to_string()),
        "memory" | "disk" => {
            let kib = number.filter(|kib| *kib > 0)?;
            Some(kib.checked_mul(1 << 10)?.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_facts_are_left_out() {
        let text = "cores=2\nmemory=507684\ndisk=1024-blocks\ndisk=2048\nos=\"debian 12\"\nkernel=\nnoise\nx=y\n";
        let expected = [
            ("cores", "2"),
            ("disk", "2097152"),
            ("memory", "519868416"),
            ("os", "debian 12"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(facts(text), BTreeMap::from(expected));
        let text = "cores=0\ncores=many\nmemory=0\ndisk=1024-blocks\nnics=\nuptime=-\nmemory=99999999999999999999\n";
        assert_eq!(facts(text), BTreeMap::new());
    }
}
