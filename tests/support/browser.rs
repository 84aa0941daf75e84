//! A real browser, driven over Chromium's debugging pipe: pages are opened, clicked and typed into.
//!
//! Collects whatever a page complains about or asks the network for. Must not know the pages.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PATIENCE, eventually};

/// The programs to look for, with their options.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("chromium-headless-shell", &[]),
    ("chromium", &["--headless"]),
    ("google-chrome", &["--headless"]),
];

/// The pipe's ends are the descriptors 3 and 4, which become the program's own: a shell passes standard input and output.
const SHELL: &str = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null";

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    requests: ChildStdin,
    replies: Receiver<Value>,
    next: u64,
    session: Option<String>,
    events: Vec<Value>,
    /// The profile; gone after the test.
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser, with an empty page.
    ///
    /// # Errors
    /// Fails with the reason if no browser is installed.
    pub(crate) fn start() -> Result<Self, String> {
        let found = PROGRAMS
            .iter()
            .find_map(|(name, options)| Some((which::which(name).ok()?, *options)));
        let (program, options) = found.ok_or("chromium-headless-shell not found in PATH")?;
        let profile = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut child = Command::new("sh")
            .args(["-c", SHELL])
            .arg(program)
            .args(options)
            // The pages are our own; the sandbox cannot be set up in containers.
            .args(["--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (requests, pipe) = (child.stdin.take(), child.stdout.take());
        let (requests, pipe) = requests.zip(pipe).ok_or("no pipe")?;
        let (tell, replies) = mpsc::channel();
        thread::spawn(move || {
            for message in BufReader::new(pipe).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).unwrap_or_default();
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            requests,
            replies,
            next: 0,
            session: None,
            events: Vec::new(),
            _profile: profile,
        };
        let page = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Ok(browser)
    }

    /// Sends a request and waits for its reply.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut request = json!({ "id": self.next, "method": method, "params": params });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        let mut line = request.to_string().into_bytes();
        line.push(0);
        self.requests.write_all(&line).expect("a living browser");
        loop {
            let reply = self.replies.recv_timeout(PATIENCE);
            let mut reply = reply.unwrap_or_else(|error| panic!("{method}: {error}"));
            if reply["id"] != self.next {
                self.events.push(reply);
                continue;
            }
            assert!(reply.get("error").is_none(), "{method}: {reply}");
            return reply["result"].take();
        }
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        let mut reply = self.call("Runtime.evaluate", params);
        assert!(
            reply.get("exceptionDetails").is_none(),
            "{expression}: {reply}"
        );
        reply["result"]["value"].take()
    }

    /// The text of an expression in the page.
    #[track_caller]
    pub(crate) fn text(&mut self, expression: &str) -> String {
        let value = self.value(expression);
        let text = value.as_str().map(str::to_owned);
        text.unwrap_or_else(|| panic!("{expression}: {value}"))
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub(crate) fn until(&mut self, expression: &str) {
        eventually(expression, || self.value(expression) == true);
    }

    /// Opens a file, waits until `ready` is true in it, and returns the time that took.
    #[track_caller]
    pub(crate) fn open(&mut self, file: &Path, ready: &str) -> Duration {
        let started = Instant::now();
        let url = format!("file://{}", file.display());
        self.call("Page.navigate", json!({ "url": url }));
        self.until(ready);
        started.elapsed()
    }

    /// Chooses the light or the dark theme.
    pub(crate) fn theme(&mut self, theme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": theme });
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": [feature] }),
        );
    }

    /// Sets the size of the page.
    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Clicks in the middle of an element.
    #[track_caller]
    pub(crate) fn click(&mut self, selector: &str) {
        let center = format!(
            "(() => {{ const one = document.querySelector({}); one.scrollIntoView({{ block: 'center' }}); \
             const box = one.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()",
            json!(selector)
        );
        let center = self.value(&center);
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": center[0], "y": center[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Presses and releases a key, by its name: `ArrowDown`, `Escape`.
    pub(crate) fn key(&mut self, key: &str) {
        let text = match key {
            "Enter" => "\r",
            _ => "",
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": key });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            if key == "Tab" {
                event["windowsVirtualKeyCode"] = json!(9);
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Types a text into the element with the focus.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Everything that the pages complained about so far: exceptions, console messages, violations of their security
    /// policy, dialogs, and requests that are not for files.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // Events before the reply have arrived with it.
        self.value("0");
        let bad = |event: &&Value| match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded" => true,
            "Page.javascriptDialogOpening" => true,
            "Network.requestWillBeSent" => {
                let url = event["params"]["request"]["url"].as_str();
                !url.is_some_and(|url| url.starts_with("file:///") || url == "about:blank")
            }
            _ => false,
        };
        let bad = self.events.iter().filter(bad);
        bad.map(ToString::to_string).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
