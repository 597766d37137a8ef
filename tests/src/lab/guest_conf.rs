//! A new guest's configuration, as Proxmox writes it.

use std::fs;

use anyhow::{Context, Result};

use super::{conf::Conf, pve::Kind, spec::Spec};

/// A guest's configuration as Proxmox writes it: sorted by key.
pub(super) fn conf(spec: &Spec) -> Result<Conf> {
    let mut values = vec![("memory".to_owned(), "1024".to_owned()), ("tags".to_owned(), spec.tags.clone())];
    values.push(("ostype".to_owned(), if spec.kind == Kind::Container { "debian" } else { "l26" }.to_owned()));
    for (index, net) in spec.nets.iter().enumerate() {
        let ip = if net.dhcp { "dhcp" } else { &net.address };
        let value = match spec.kind {
            Kind::Container => {
                format!("name=eth{index},bridge={},firewall=1,hwaddr={},ip={ip},type=veth", net.bridge, net.hwaddr)
            }
            Kind::Machine => format!("virtio={},bridge={},firewall=1", net.hwaddr, net.bridge),
        };
        values.push((format!("net{index}"), value));
    }
    let vmid = spec.vmid;
    let more = match spec.kind {
        Kind::Container => vec![
            ("arch", "amd64".to_owned()),
            ("features", "nesting=1".to_owned()),
            ("hostname", spec.name.clone()),
            ("rootfs", format!("local:{vmid}/vm-{vmid}-disk-0.raw,size=8G")),
            ("swap", "512".to_owned()),
            ("unprivileged", "1".to_owned()),
        ],
        Kind::Machine => vec![
            ("agent", "1".to_owned()),
            ("boot", "order=scsi0".to_owned()),
            ("name", spec.name.clone()),
            ("scsi0", format!("local:{vmid}/vm-{vmid}-disk-0.qcow2,size=8G")),
            ("smbios1", format!("uuid={}", fresh_uuid()?)),
            ("vmgenid", fresh_uuid()?),
        ],
    };
    values.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    values.sort();
    let mut conf = Conf::default();
    for (key, value) in values {
        conf.current.set(&key, value);
    }
    Ok(conf)
}

/// Random, from the kernel.
pub(super) fn fresh_uuid() -> Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").context("ask the kernel for a UUID")?;
    Ok(uuid.trim().to_owned())
}
