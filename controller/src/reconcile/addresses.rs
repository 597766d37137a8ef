//! Where agents may dial, as the linked ones are told it.
//!
//! Invariant: each linked agent has been told what is known now, and again after each change.

use pinion_proto::message::{ControllerNode, Controllers};
use tokio::sync::watch;

use super::Reconciler;
use crate::config::advertise::Reachable;

impl Reconciler {
    /// Takes what is known now of the addresses by which guests reach this controller.
    pub(super) fn look_at_addresses(&mut self, reachable: &mut watch::Receiver<Reachable>) {
        self.reachable = reachable.borrow_and_update().clone();
        self.sessions.addresses_changed();
    }

    /// Tells linked agents the addresses, if they do not know them. True when some queue was full.
    pub(super) fn tell_addresses(&mut self) -> bool {
        let addresses = self.reachable.addresses.clone();
        if addresses.is_empty() {
            return false;
        }
        let home = self.parts.node.clone();
        let nodes = vec![ControllerNode { name: home.clone(), addresses }];
        self.sessions.tell_addresses(&Controllers { nodes, home })
    }
}
