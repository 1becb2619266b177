//! Scaling out: what further nodes on one etcd cost and bring. Each kind of load alone on 1, 2, 3 and 5 nodes, the memory and the start
//! of a node, pushes to watchers, an etcd of three members, and a model that is fitted to these rows.

mod cluster;
mod held;
mod leases;
mod loads;
mod members;
mod model;
mod push;

use crate::node::Kind;
use crate::options::Options;
use crate::table::{Line, Table};
use loads::Sweep;
use model::Model;

/// The rows measured here.
pub const ROWS: [&str; 6] =
    ["scale-nodes", "scale-held", "scale-push", "scale-members", "scale-leases", "scale-model"];

/// Measures them. The embedded store has one node only.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    if store == Kind::Embedded {
        return Ok(());
    }
    let wants_model = options.wants("scale-model");
    let mut sweep = Sweep::default();
    if wants_model || options.wants("scale-nodes") {
        sweep = loads::measure(options, table)?;
    }
    let held = (wants_model || options.wants("scale-held")).then(|| held::measure(options, table));
    let pushes = (wants_model || options.wants("scale-push")).then(|| push::measure(options, table));
    if options.wants("scale-members") {
        members::measure(options, table)?;
    }
    if options.wants("scale-leases") {
        leases::measure(options, table)?;
    }
    let (held, pushes) = (held.transpose()?, pushes.transpose()?);
    if let (true, Some(held), Some(pushes)) = (wants_model, held, pushes) {
        match Model::fit(&sweep, held, pushes) {
            Ok(model) => model::report(&model, &sweep, table),
            // The kernel counts CPU time in steps of 10 ms, which a short run may not reach.
            Err(why) if options.short => table.push(Line::figure("model", store, why)),
            Err(why) => return Err(why),
        }
    }
    Ok(())
}
