//! An etcd of three members: what registrations and renewals cost the member that leads, and each other, through a node at the leader and
//! through a node at a follower.

use std::time::Duration;

use super::cluster::{Cluster, Observed};
use super::loads::{Run, Sort, Spread};
use crate::node::{Backing, Kind};
use crate::options::Options;
use crate::table::{Line, Table};

const MEMBERS: usize = 3;
/// The pause before another load, in which the members finish what the last one has caused.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures them.
pub fn measure(options: &Options, table: &mut Table) -> Result<(), String> {
    let backing = Backing::start_members(MEMBERS);
    let leader = backing.leader()?;
    let follower = (leader + 1) % MEMBERS;
    let nodes = vec![backing.node_at(leader)?, backing.node_at(follower)?];
    let mut run = Run::fill(options, Cluster::of(backing, nodes))?;
    run.idle()?;
    for (node, place) in [(0, "the leader"), (1, "a follower")] {
        for (sort, name) in [(Sort::Register, "registrations"), (Sort::Beat, "renewals")] {
            std::thread::sleep(options.scale(SETTLE, Duration::ZERO));
            let rounds = (0..options.rounds).map(|_| run.at(sort, node)).collect::<Result<Vec<_>, _>>()?;
            let count = |round: &Observed| if sort == Sort::Beat { round.renewals } else { round.total() };
            let each = |member: usize| {
                Spread::of(rounds.iter().map(|round| round.members[member] * 1e6 / count(round)))
            };
            let rest = (0..MEMBERS).find(|member| ![leader, follower].contains(member)).unwrap_or(follower);
            let rate = Spread::of(rounds.iter().map(|round| round.rate(count(round))));
            let at = if node == 1 { each(follower) } else { each(rest) };
            let figure = format!(
                "{rate}/s; CPU: the leader {} µs, {} {at} µs, the third {} µs",
                each(leader),
                if node == 1 { "the follower of the node" } else { "a follower" },
                if node == 1 { each(rest) } else { each(follower) },
            );
            table.push(Line::figure(
                &format!("{name} through {place} of {MEMBERS} members"),
                Kind::Etcd,
                figure,
            ));
        }
        if run.cluster.backing.leader()? != leader {
            return Err("another member leads now".to_owned());
        }
    }
    Ok(())
}
