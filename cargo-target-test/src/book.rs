//! The book of `cargo target-test`: the files of `docs/`.
//!
#![doc = include_str!("book/links.md")]
#![doc = include_str!("../docs/README.md")]

/// Shows a file of `docs/` as a module. The file defines its links as files; `links.md` has them as modules, and the first
/// definition of a link wins.
macro_rules! page {
    ($name:ident, $file:literal) => {
        #[doc = include_str!("book/links.md")]
        #[doc = include_str!(concat!("../docs/", $file))]
        pub mod $name {}
    };
}

page!(start, "start.md");
page!(words, "words.md");
page!(playbook, "playbook.md");
page!(local, "local.md");
page!(ssh, "ssh.md");
page!(qemu, "qemu.md");
page!(container, "container.md");
page!(command, "command.md");
page!(machine, "machine.md");
page!(programs, "programs.md");
page!(on_target, "on-target.md");
page!(environments, "environments.md");
page!(networks, "networks.md");
page!(talking, "talking.md");
page!(fixtures, "fixtures.md");
page!(metrics, "metrics.md");
page!(orchestrations, "orchestrations.md");
page!(secrets, "secrets.md");
page!(dev_loop, "dev-loop.md");
page!(reports, "reports.md");
page!(history, "history.md");
page!(ci, "ci.md");
page!(troubleshooting, "troubleshooting.md");
page!(limits, "limits.md");
page!(how_it_works, "how-it-works.md");
page!(peers, "peers.md");
