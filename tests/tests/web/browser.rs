//! A real Chromium without a screen, driven over WebDriver (W3C) by its chromedriver.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pinion_tests::{
    port::Port,
    process::Process,
    program,
    wait::{self, PATIENCE},
};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

/// One window.
pub(crate) struct Browser {
    client: Client,
    session: String,
    /// Before its directory: it writes there.
    _driver: Process,
    _port: Port,
    _directory: TempDir,
}

/// How a browser is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) is_dark: bool,
    pub(crate) has_scripts: bool,
}

impl Setup {
    pub(crate) const WIDE: Self = Self { width: 1600, height: 1000, is_dark: false, has_scripts: true };
    pub(crate) const PHONE: Self = Self { width: 390, height: 844, ..Self::WIDE };
    pub(crate) const DARK: Self = Self { is_dark: true, ..Self::WIDE };
    pub(crate) const WITHOUT_SCRIPTS: Self = Self { has_scripts: false, ..Self::WIDE };
}

impl Browser {
    pub(crate) async fn start(setup: Setup) -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let directory = tempfile::Builder::new().prefix("pinion-browser-").tempdir().expect("a directory");
        let port = Port::reserve().expect("a port");
        let mut command = Command::new(program::found("chromedriver").expect("chromedriver"));
        command.arg(format!("--port={}", port.address().port())).env("TMPDIR", directory.path());
        command.env("HOME", directory.path());
        let driver = Process::spawn("chromedriver", &mut command, &directory.path().join("log")).expect("started");
        wait::until("chromedriver listens", PATIENCE, || std::net::TcpStream::connect(port.address()).map(drop))
            .expect("chromedriver");
        let client = Client::builder().timeout(Duration::from_secs(60)).build().expect("a client");
        let javascript = if setup.has_scripts { 1 } else { 2 };
        let options = json!({
            "binary": program::found("chromium").expect("chromium"),
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--disable-default-apps", "--force-color-profile=srgb",
                // Nothing but this machine exists.
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
                format!("--window-size={},{}", setup.width, setup.height),
                format!("--user-data-dir={}", directory.path().join("profile").display()),
            ],
            "prefs": { "profile.managed_default_content_settings.javascript": javascript }
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let url = format!("http://{}/session", port.address());
        let answer: Value =
            client.post(&url).json(&wanted).send().await.expect("an answer").json().await.expect("JSON");
        let id = answer["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}"));
        let session = format!("{url}/{id}");
        let browser = Self { client, session, _driver: driver, _port: port, _directory: directory };
        let metrics = json!({ "width": setup.width, "height": setup.height, "deviceScaleFactor": 1, "mobile": setup.width < 600 });
        browser.devtools("Emulation.setDeviceMetricsOverride", &metrics).await;
        let scheme = if setup.is_dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.devtools("Emulation.setEmulatedMedia", &media).await;
        browser
    }

    pub(crate) async fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url })).await;
    }

    /// What a script returns.
    pub(crate) async fn script(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// What a script hands to its last argument.
    async fn later(&self, script: &str) -> Value {
        self.post("execute/async", &json!({ "script": script, "args": [] })).await
    }

    pub(crate) async fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).await
    }

    /// The page's text, as people see it. It works without the page's own scripts, too.
    pub(crate) async fn text(&self) -> String {
        let answer = self.devtools("Runtime.evaluate", &json!({ "expression": "document.body.innerText" })).await;
        answer["result"]["value"].as_str().unwrap_or_default().to_owned()
    }

    /// Keeps a picture of the whole page in `target/pictures`.
    pub(crate) async fn picture(&self, name: &str) {
        let whole = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.devtools("Page.captureScreenshot", &whole).await;
        let bytes = STANDARD.decode(answer["data"].as_str().expect("a picture")).expect("base64");
        let directory = pictures();
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join(format!("{name}.png")), bytes).expect("written");
    }

    /// What axe-core finds: each rule that is broken, and where.
    pub(crate) async fn barriers(&self) -> Vec<String> {
        let axe = fs::read_to_string(program::found("axe.min.js").expect("axe-core")).expect("read");
        self.devtools("Runtime.evaluate", &json!({ "expression": axe })).await;
        let run = "const done = arguments[0]; axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', \
                   'best-practice'] }).then((r) => done(r.violations.map((v) => v.id + ': ' + v.help + ' ' + \
                   v.nodes.slice(0, 3).map((n) => n.html.slice(0, 120) + ' ' + (n.any[0]?.message ?? '')).join(' | '))), \
                   (e) => done(['axe failed: ' + e]))";
        let found = self.later(run).await;
        let found = found.as_array().unwrap_or_else(|| panic!("axe says {found}"));
        found.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect()
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let sent = self.client.post(format!("{}/{path}", self.session)).json(body).send().await;
        let mut answer: Value = sent.expect("chromedriver answers").json().await.expect("JSON");
        assert!(answer["value"]["error"].is_null(), "{path}: {}", answer["value"]);
        answer["value"].take()
    }

    /// Ends the browser, which ends before its driver does.
    pub(crate) async fn close(self) {
        self.client.delete(&self.session).send().await.expect("chromedriver answers");
    }
}

/// Where pictures are kept, for people to look at.
pub(crate) fn pictures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/pictures")
}
