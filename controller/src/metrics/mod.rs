//! What can be measured: the metrics' names, and their values at one moment.

pub mod exposition;
pub mod names;

pub use prometheus_client::metrics::histogram::Histogram;
