//! The page, the metrics and who may see them, on a real controller.

mod access;
mod alerts;
mod browser;
mod client;
mod login;
mod metrics;
mod monitoring;
mod page;
mod pictures;
mod staged;
mod storm;
mod textfile;
mod watched;

use pinion_tests::host::{Host, HostOptions};
use serde_json::json;

/// A host whose page can be looked at; `[web]` says this, too.
fn prepared(more: &str) -> Host {
    let options = HostOptions { web: Some(more.to_owned()), ..HostOptions::embedded(&json!([])) };
    Host::prepare(&options).expect("a host")
}
