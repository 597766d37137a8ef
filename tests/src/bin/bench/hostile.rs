//! What a message costs that is short on the wire and large in memory, in either direction.

use anyhow::{Context, Result};
use pinion_tests::{
    attack::large::{self, BrokenController, Guests},
    host::{Host, HostOptions},
};

use crate::table::{Bound, Row, bytes_of};

/// What one message may cost above rest (bytes).
const MAX: u32 = 16 * 1024 * 1024;

/// The first of each kind is the plain one: 2,000,000 empty elements of the field that grows most.
pub(crate) fn measure() -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start a runtime")?;
    let (_, message) = large::to_controller().into_iter().next().context("there are messages")?;
    let mut costs = Vec::new();
    for at_once in [1, 16] {
        // A controller of its own for each: memory that was freed is seldom given back.
        let mut host = Host::start(&HostOptions::default())?;
        let controller = host.controller().context("the controller runs")?.id();
        let guests = runtime.block_on(Guests::join(&host, 2000..2000 + at_once))?;
        let (figures, _) = runtime.block_on(guests.all_say(controller, &message))?;
        costs.push(bytes_of(figures.cost()));
    }
    let (_, message) = large::to_agent().into_iter().next().context("there are messages")?;
    let agent = runtime.block_on(async {
        let mut controller = BrokenController::start().await?;
        let mut guest = controller.guest("101")?;
        controller.says(&mut guest, &message).await
    })?;
    let [one, sixteen] = costs[..] else { anyhow::bail!("two were measured") };
    Ok(vec![
        Row::new(
            "hostile_to_controller_bytes",
            "controller: 2,000,000 empty elements in one message",
            one,
            Bound::AtMostBytes(MAX),
        ),
        Row::new(
            "hostile_16_to_controller_bytes",
            "controller: the same from 16 guests at once",
            sixteen,
            Bound::AtMostBytes(3 * MAX),
        ),
        Row::new(
            "hostile_to_agent_bytes",
            "agent: 2,000,000 empty elements in one message",
            bytes_of(agent.cost()),
            Bound::AtMostBytes(MAX),
        ),
    ])
}
