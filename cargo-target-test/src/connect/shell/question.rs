//! Scripts that answer questions about a machine, and the parsers of their output.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use target_fixtures::wire::{Exit, Question};

use super::{
    FACTS, MISSING, UNKNOWN, check_path,
    facts::{self, MORE},
    machine::has,
    pairs, quote,
};
use crate::error::{Error, Result};

/// Returns the script that answers a question; `None` if no script can.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if a name or a path is invalid.
pub(crate) fn ask(question: &Question) -> Result<Option<String>> {
    Ok(Some(match question {
        Question::Facts => format!("{FACTS}; {MORE}"),
        Question::Listens { port } => super::listens(*port),
        Question::Package { name } => package(&word(name)?),
        Question::Service { name } => service(&word(name)?),
        Question::User { name } => user(&word(name)?),
        Question::File { path } => file(path)?,
        Question::Console { .. } | Question::Address => return Ok(None),
    }))
}

fn word(name: &str) -> Result<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+-._@:~".contains(c);
    match !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain) {
        true => Ok(name.to_owned()),
        false => Err(Error::usage(format!(
            "invalid name of a package, service or user: {name:?}"
        ))),
    }
}

fn package(name: &str) -> String {
    // busybox has another `rpm`, without a database and without `--version`.
    format!(
        "if {dpkg}; then s=$(dpkg-query -W -f='${{Status}}/${{Version}}' {name}) || {{ [ $? = 1 ] && exit {MISSING}; exit 1; }}; \
           case $s in *' installed/'*) echo \"${{s##*/}}\" ;; *) exit {MISSING} ;; esac; \
         elif {rpm} && rpm --version >/dev/null 2>&1; then \
           s=$(LC_ALL=C rpm -q --qf '%{{VERSION}}-%{{RELEASE}}\\n' {name}) || \
             case $s in *'not installed'*) exit {MISSING} ;; *) echo \"$s\" >&2; exit 1 ;; esac; echo \"$s\"; \
         elif {apk}; then s=$(apk info -e -v {name}) || exit {MISSING}; [ -n \"$s\" ] || exit {MISSING}; echo \"${{s#{name}-}}\"; \
         elif {pacman}; then s=$(pacman -Q {name}) || exit {MISSING}; echo \"${{s#* }}\"; \
         else exit {UNKNOWN}; fi",
        dpkg = has("dpkg-query"),
        rpm = has("rpm"),
        apk = has("apk"),
        pacman = has("pacman"),
    )
}

fn service(name: &str) -> String {
    format!(
        "if [ -d /run/systemd/system ]; then systemctl show -p LoadState -p ActiveState -p UnitFileState {name}; \
         elif {rc}; then rc-service -e {name} || exit {MISSING}; \
           if rc-service {name} status >&2; then echo ActiveState=active; fi; \
           if rc-update show | grep -q \"^ *{name} |\"; then echo UnitFileState=enabled; fi; \
         elif [ -d /etc/init.d ]; then [ -x /etc/init.d/{name} ] || exit {MISSING}; \
           if /etc/init.d/{name} status >&2; then echo ActiveState=active; fi; \
           for f in /etc/rc[2-5].d/S*{name}; do if [ -e \"$f\" ]; then echo UnitFileState=enabled; break; fi; done; \
         else exit {UNKNOWN}; fi",
        rc = has("rc-service"),
    )
}

fn user(name: &str) -> String {
    format!(
        "if {getent}; then getent passwd {name} || {{ [ $? = 2 ] && exit {MISSING}; exit 1; }}; \
         else grep -E '^({name}:|[^:]*:[^:]*:{name}:)' /etc/passwd || {{ [ $? = 1 ] && exit {MISSING}; exit 1; }}; fi",
        getent = has("getent"),
    )
}

fn file(path: &str) -> Result<String> {
    check_path(path)?;
    let path = quote(path);
    Ok(format!(
        "[ -e {path} ] || [ -L {path} ] || exit {MISSING}; stat -c '%a %s %Y %U %G %F' -- {path} && \
         if [ -L {path} ]; then readlink -n -- {path}; fi"
    ))
}

/// Parses the output of the script for a question; `None` if the script failed.
pub(crate) fn answer(question: &Question, exit: &Exit, text: &str) -> Option<Value> {
    match (question, exit) {
        (Question::Listens { .. }, Exit::Code(code @ (0 | 1))) => Some(json!(*code == 0)),
        (_, Exit::Code(MISSING)) => Some(Value::Null),
        (_, Exit::Code(0)) => match question {
            Question::Facts => Some(json!(facts::facts(text))),
            Question::Package { .. } => Some(json!(text.trim())),
            Question::Service { .. } => Some(read_service(text)),
            Question::User { .. } => read_user(text),
            _ => read_file(text),
        },
        _ => None,
    }
}

/// Returns the reason why the script could not answer, if its exit status tells.
pub(crate) fn unknown_reason(exit: &Exit) -> Option<&'static str> {
    (*exit == Exit::Code(UNKNOWN)).then_some("the instance has no program that can answer")
}

fn read_service(text: &str) -> Value {
    let said: BTreeMap<_, _> = pairs(text).collect();
    if said
        .get("LoadState")
        .is_some_and(|state| *state == "not-found")
    {
        return Value::Null;
    }
    let is = |key, values: &[&str]| said.get(key).is_some_and(|value| values.contains(value));
    json!({
        "active": is("ActiveState", &["active", "reloading"]),
        "enabled": is("UnitFileState", &["enabled", "enabled-runtime", "alias", "static"]),
    })
}

fn read_user(text: &str) -> Option<Value> {
    let fields: Vec<_> = text.lines().next()?.split(':').collect();
    let [name, _, uid, gid, _, home, shell] = fields.as_slice() else {
        return None;
    };
    let [uid, gid] = [uid, gid].map(|number| number.parse::<u32>().ok());
    Some(json!({ "name": name, "uid": uid?, "gid": gid?, "home": home, "shell": shell }))
}

fn read_file(text: &str) -> Option<Value> {
    let (first, link) = text.split_once('\n')?;
    let mut words = first.splitn(6, ' ');
    let mut next = || words.next();
    let (mode, size, modified) = (next()?, next()?, next()?);
    let (user, group, kind) = (next()?, next()?, next()?);
    let kind = match kind {
        kind if kind.contains("regular") => "file",
        "directory" => "folder",
        "symbolic link" => "link",
        _ => "other",
    };
    Some(json!({
        "kind": kind,
        "mode": u32::from_str_radix(mode, 8).ok()?,
        "size": size.parse::<u64>().ok()?,
        "modified": modified.parse::<u64>().ok()?,
        "user": user,
        "group": group,
        "link": (kind == "link").then_some(link),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    /// Returns the answer of this machine.
    fn here(question: &Question) -> Option<Value> {
        let mut command = process::command("/bin/sh");
        command.arg("-c").arg(ask(question).unwrap().unwrap());
        let output = process::Spawn::new(command).output().unwrap();
        let exit = Exit::Code(output.status.code().unwrap());
        answer(question, &exit, &String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn this_machine_answers() {
        let facts = here(&Question::Facts).unwrap();
        for key in [
            "arch", "kernel", "hostname", "uptime", "memory", "cores", "boot-id",
        ] {
            assert!(facts[key].is_string(), "{key}: {facts}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b");
        std::fs::write(&path, "12345").unwrap();
        std::os::unix::fs::symlink("a b", folder.path().join("l")).unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name).display().to_string();
            here(&Question::File { path })
        };
        let found = file("a b").unwrap();
        assert_eq!(
            (&found["kind"], &found["size"]),
            (&json!("file"), &json!(5))
        );
        assert_eq!(file("l").unwrap()["link"], "a b");
        assert_eq!(file("").unwrap()["kind"], "folder");
        assert_eq!(file("none"), Some(Value::Null));
        let root = here(&Question::User {
            name: "root".to_owned(),
        })
        .unwrap();
        assert_eq!((&root["uid"], &root["home"]), (&json!(0), &json!("/root")));
        let nobody = "no-such-user".to_owned();
        assert_eq!(here(&Question::User { name: nobody }), Some(Value::Null));
    }

    #[test]
    fn answers_of_other_systems_are_parsed() {
        let service = Question::Service {
            name: "x".to_owned(),
        };
        let read = |text| answer(&service, &Exit::Code(0), text).unwrap();
        assert_eq!(
            read("LoadState=not-found\nActiveState=inactive\n"),
            Value::Null
        );
        assert_eq!(
            read("LoadState=loaded\nActiveState=active\nUnitFileState=disabled\n"),
            json!({ "active": true, "enabled": false })
        );
        assert_eq!(answer(&service, &Exit::Code(UNKNOWN), ""), None);
        for name in ["", "-x", "a b", "a;b", "$x"] {
            let name = name.to_owned();
            assert!(ask(&Question::Package { name }).is_err());
        }
    }
}
