//! The program that reads footage: whether it is there, and whether this machine can confine it.

use transcode::protocol::Wall;
use transcode::supervise::{Allowance, Supervisor};

use super::Fault;
use crate::config::WITHOUT_WALLS;
use crate::keeping::Look;

pub(super) async fn confines_itself(look: &Look) -> Vec<Fault> {
    let worker = match Supervisor::locate(Allowance::default()) {
        Ok(worker) => worker,
        Err(failure) => {
            return vec![Fault::critical(
                "worker-missing",
                failure.to_string(),
                "install exhibit-transcode beside exhibit (it is in the same package), or name it in EXHIBIT_TRANSCODE",
            )];
        }
    };
    let as_configured = worker.clone().without(look.config.transcode.walls()).confinement().await;
    let failure = match as_configured {
        Ok(confinement) => return confinement.without.into_iter().map(lowered).collect(),
        Err(failure) => failure,
    };
    let what = format!("no viewing copies are made: {failure}");
    let mut fix = "see what withholds it: an old kernel, or a container's own filter".to_owned();
    if let Ok(confinement) = worker.without(Wall::ALL.to_vec()).confinement().await {
        let names = confinement.without.into_iter().map(|wall| format!("\"{}\"", wall.name()));
        let names = names.collect::<Vec<_>>().join(", ");
        fix += &format!(
            "; or take this machine as it is, which becomes an entry in the ledger: {WITHOUT_WALLS} = [{names}]"
        );
    }
    vec![Fault::critical("worker-unconfined", what, fix)]
}

fn lowered(wall: Wall) -> Fault {
    Fault::warning(
        "worker-lowered",
        format!("this machine cannot lay {} around the program that reads footage", wall.name()),
        format!("it is named in {WITHOUT_WALLS}, and an entry in the ledger says so"),
    )
}
