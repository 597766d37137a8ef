//! Placements from order to served, with a real service, real hooks and a CA, in one process.

pub(super) mod guest;
mod tls_service;

mod lifecycle;
mod purging;
mod odd_files;
mod adopting;
mod allowed_paths;
mod roots;
mod service_failures;
mod several_services;
mod rollback;
mod escalation;
mod restarts;
mod state_removed;
mod share_gone;
mod unmounted;
mod unmounting;
mod disk_work;
mod failed_operations;
mod power_cuts;
mod power_cuts_adopting;
mod power_cuts_renewal;
