//! The bucket: whether it is reached, and what it really does.

use storage::s3::probe::{Finding, probe};

use super::Fault;
use crate::app;
use crate::keeping::Look;

/// Every promise that evidence rests on, tried.
pub(super) async fn keeps_its_promises(look: &Look) -> Vec<Fault> {
    let config = &look.config.storage;
    if !config.is_s3() {
        return Vec::new();
    }
    let tried = async { probe(&app::objects::connect(config, None).await?, |_| ()).await };
    let report = match tried.await {
        Ok(report) => report,
        Err(error) => {
            let what = format!("the bucket {} cannot be used: {error}", config.bucket);
            let fix = "exhibit store probe tries it by itself; nothing is acknowledged meanwhile";
            return vec![Fault::critical("bucket-unusable", what, fix)];
        }
    };
    let broken =
        report.findings.iter().filter_map(|finding| Some((finding, finding.outcome.what()?)));
    broken.map(|(finding, what)| fault(look, finding, what)).collect()
}

fn fault(look: &Look, finding: &Finding, what: &str) -> Fault {
    let (says, name) = (finding.says, finding.promise.name());
    let what = format!("the store does not keep a promise, {says}: {what}");
    if !finding.required {
        let fix = "evidence does not rest on it; say it to whoever keeps the store";
        return Fault::warning("store-promise", what, fix);
    }
    if look.config.storage.without.contains(&name) {
        let fix = "it is named in storage.without, and an entry in the ledger says so";
        return Fault::warning("store-promise-given-up", what, fix);
    }
    let fix = format!(
        "use a bucket made with versions and Object Lock; or name it: storage.without = [\"{name}\"]"
    );
    Fault::critical("store-promise-broken", what, fix)
}
