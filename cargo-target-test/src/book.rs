//! The book, as pages of the documentation: the files of `docs/`. Must not contain code.
//!
#![doc = include_str!("../docs/README.md")]

/// Shows a file of `docs/` as a module.
///
/// A page defines its links at its end, as files. Here they are modules: the first definition of a link wins.
macro_rules! page {
    ($name:ident, $file:literal) => {
        #[doc = "[start]: crate::book::start"]
        #[doc = "[words]: crate::book::words"]
        #[doc = "[guide]: target_fixtures"]
        #[doc = "[playbook]: crate::book::playbook"]
        #[doc = "[local]: crate::book::local"]
        #[doc = "[ssh]: crate::book::ssh"]
        #[doc = "[qemu]: crate::book::qemu"]
        #[doc = "[container]: crate::book::container"]
        #[doc = "[command]: crate::book::command"]
        #[doc = "[programs]: crate::book::programs"]
        #[doc = "[talking]: crate::book::talking"]
        #[doc = "[fixtures]: crate::book::fixtures"]
        #[doc = "[secrets]: crate::book::secrets"]
        #[doc = "[dev-loop]: crate::book::dev_loop"]
        #[doc = "[ci]: crate::book::ci"]
        #[doc = "[troubleshooting]: crate::book::troubleshooting"]
        #[doc = "[limits]: crate::book::limits"]
        #[doc = "[how-it-works]: crate::book::how_it_works"]
        #[doc = "[peers]: crate::book::peers"]
        #[doc = ""]
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
page!(programs, "programs.md");
page!(talking, "talking.md");
page!(fixtures, "fixtures.md");
page!(secrets, "secrets.md");
page!(dev_loop, "dev-loop.md");
page!(ci, "ci.md");
page!(troubleshooting, "troubleshooting.md");
page!(limits, "limits.md");
page!(how_it_works, "how-it-works.md");
page!(peers, "peers.md");
