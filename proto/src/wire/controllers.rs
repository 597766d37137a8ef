//! Where agents may dial, between the generated messages and the checked ones.

use super::{
    error::{WireError, at_most, parse},
    pb,
};
use crate::message::{ControllerNode, Controllers};

/// A Proxmox cluster has at most 32 nodes.
pub(super) const MAX_NODES: usize = 64;

/// As many as a join token names.
pub(super) const MAX_ADDRESSES: usize = 16;

/// Reads where agents may dial. An address of a kind that this program does not know is passed over.
pub(super) fn read_controllers(controllers: pb::Controllers) -> Result<Controllers, WireError> {
    at_most("controllers.nodes", controllers.nodes.len(), MAX_NODES)?;
    let node = |node: pb::ControllerNode| {
        at_most("controller_node.addresses", node.addresses.len(), MAX_ADDRESSES)?;
        let addresses = node.addresses.iter().filter_map(|address| address.parse().ok()).collect();
        Ok(ControllerNode { name: parse("controller_node.name", &node.name)?, addresses })
    };
    Ok(Controllers {
        nodes: controllers.nodes.into_iter().map(node).collect::<Result<_, WireError>>()?,
        home: parse("controllers.home", &controllers.home)?,
    })
}

/// Writes where agents may dial.
pub(super) fn write_controllers(controllers: Controllers) -> pb::Controllers {
    let node = |node: ControllerNode| pb::ControllerNode {
        name: node.name.to_string(),
        addresses: node.addresses.iter().take(MAX_ADDRESSES).map(ToString::to_string).collect(),
    };
    pb::Controllers {
        nodes: controllers.nodes.into_iter().take(MAX_NODES).map(node).collect(),
        home: controllers.home.to_string(),
    }
}
