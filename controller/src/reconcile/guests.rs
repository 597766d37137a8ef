//! Which guests there are, as the loop takes it in.

use std::sync::Arc;

use tokio::sync::watch;

use super::Reconciler;
use crate::{
    events::{HostEvent, What},
    inventory::Inventory,
};

impl Reconciler {
    /// Takes the inventory as it is now, if it is another one than before.
    pub(super) fn look_at_inventory(&mut self, inventory: &mut watch::Receiver<Arc<Inventory>>) {
        // The sender is gone where nothing but the configuration tells of guests.
        if inventory.has_changed().unwrap_or(false) {
            let next = inventory.borrow_and_update().clone();
            self.new_inventory(next);
        }
    }

    /// Takes an inventory, and tells when Proxmox begins or ceases to be understood.
    pub(super) fn new_inventory(&mut self, next: Arc<Inventory>) {
        let now = self.parts.clock.now();
        match (self.inventory.problem(), next.problem()) {
            (before, Some(problem)) if before != Some(problem) => {
                self.event(What::Host(HostEvent::InventoryUnknown(problem.clone())), now);
            }
            (Some(_), None) => {
                self.event(What::Host(HostEvent::InventoryKnown), now);
            }
            _ => {}
        }
        match (self.inventory.trouble(), next.trouble()) {
            (before, Some(trouble)) if before != Some(trouble) => {
                self.event(What::Host(HostEvent::RunningUnknown(trouble.clone())), now);
            }
            (Some(_), None) => {
                self.event(What::Host(HostEvent::RunningKnown), now);
            }
            _ => {}
        }
        let alike = next.alike().iter().filter(|alike| !self.inventory.alike().contains(alike));
        for alike in alike.cloned().collect::<Vec<_>>() {
            self.event(What::Host(HostEvent::SameNetworkCard(alike.trouble)), now);
        }
        if !self.inventory.alike().is_empty() && next.alike().is_empty() {
            self.event(What::Host(HostEvent::NetworkCardsDiffer), now);
        }
        self.note_machines(&next, now);
        self.inventory = next;
        self.note_listed(now);
    }
}
