//! Platform `command` with a transport of its own: machines are name spaces, reached by a script.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::{
    Subject,
    command::{ledger, script},
    label, marked, names,
};

/// A machine is a process that keeps a host name and a process table of its own.
const SCRIPT: &str = r#"#!/bin/sh
read -r line
field() { printf '%s' "$line" | sed 's/.*"'$1'":"\([^"]*\)".*/\1/'; }
mkdir -p ledger
file=ledger/$(field unique)
end() {
    [ ! -s "$file" ] || kill -s KILL "$(cat "$file")" 2>/dev/null
    [ -z "$1" ] || rm -f "$file"
}
begin() {
    setsid unshare --uts --pid --fork --mount-proc --kill-child \
        sh -c "hostname $(field instance); exec sleep 100000" >/dev/null 2>&1 </dev/null &
    # The process inside, whose parent is unshare.
    until inside=$(pgrep -P $!) && nsenter -t $inside -u hostname | grep -q "^$(field instance)$"; do sleep 0.01; done
    echo $inside >"$file"
}
case $(field action) in
    deploy) end; begin; echo "{\"host\": \"space\", \"data\": {\"pid\": $(cat "$file")}}" ;;
    delete) end forget ;;
    restart) end; begin ;;
    list) echo '['; comma=; for one in ledger/*; do [ -e "$one" ] || continue
        echo "$comma{\"unique\": \"${one#ledger/}\"}"; comma=,; done; echo ']' ;;
esac
"#;

/// The machine's number is looked up at each call: a restart changes it.
const EXEC: &str = r#"#!/bin/sh
unique=$(printf '%s' "$TARGET_TEST_REQUEST" | sed 's/.*"unique":"\([^"]*\)".*/\1/')
exec nsenter -t "$(cat "ledger/$unique")" -u -p -m /bin/sh -c "$1"
"#;
const PUT: &str =
    "#!/bin/sh\ncat >\"$1.part\" && chmod \"$2\" \"$1.part\" && mv \"$1.part\" \"$1\"\n";
const GET: &str = "#!/bin/sh\nexec cat -- \"$1\"\n";

pub(crate) struct ProgramsSubject;

/// The subject; an error if name spaces cannot be made here.
pub(crate) fn new() -> Result<ProgramsSubject, String> {
    let tried = Command::new("unshare")
        .args(["--uts", "--pid", "--fork", "--mount-proc", "true"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    match tried.status.success() {
        true => Ok(ProgramsSubject),
        false => Err(String::from_utf8_lossy(&tried.stderr).into_owned()),
    }
}

impl Subject for ProgramsSubject {
    fn playbook(&self, folder: &Path) -> String {
        for (name, text) in [("lab", SCRIPT), ("exec", EXEC), ("put", PUT), ("get", GET)] {
            script(folder, name, text);
        }
        "[recipes.two]\nsteps = [{ run = \"true\" }, { run = \"true\" }]\n\
         [[targets]]\nname = \"it\"\nplatform = \"command\"\ncount = 2\nrecipe = \"two\"\n\
         deploy = \"./lab\"\ndelete = \"./lab\"\nrestart = \"./lab\"\nlist = \"./lab\"\n\
         exec = \"./exec\"\nput = \"./put\"\nget = \"./get\"\n"
            .to_owned()
    }

    fn wrong_playbook(&self, folder: &Path) -> (String, String) {
        let line = "exec = []";
        (
            self.playbook(folder).replace("exec = \"./exec\"", line),
            line.to_owned(),
        )
    }

    fn exists(&self, pool: &Path) -> Vec<String> {
        let processes = label(pool).map(|label| marked("TARGET_TEST_LABEL", &label));
        let mut all = processes.unwrap_or_default();
        all.extend(ledger(pool));
        all.extend(names(&pool.join("instances")));
        all
    }

    fn remove_behind_our_back(&self, pool: &Path) -> bool {
        for name in ledger(pool) {
            let file = pool.with_file_name("ledger").join(name);
            let pid = fs::read_to_string(&file).unwrap_or_default();
            let _ = Command::new("kill")
                .args(["-s", "KILL", pid.trim()])
                .output();
        }
        true
    }

    fn identity(&self) -> &'static str {
        "hostname"
    }

    fn boot_id(&self) -> Option<&'static str> {
        // Of the first process in it.
        Some("cut -d ' ' -f 22 /proc/1/stat")
    }

    fn passes_secret(&self) -> Option<bool> {
        // The user's script hands its own environment on.
        Some(true)
    }
}
