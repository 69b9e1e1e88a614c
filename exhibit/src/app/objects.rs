//! Where objects rest, as configured: a folder, or a bucket whose promises were tried.

use std::path::Path;

use storage::objects::{BucketOptions, Kek, ObjectStore};
use storage::s3::probe::{Finding, Outcome, Report, probe};
use storage::s3::{Bucket, Place, S3Error, Secret};

use super::open::failed;
use crate::config;
use crate::control::Failure;

/// The setting that names what a store is known not to keep.
pub(super) const WITHOUT: &str = "storage.without";
/// Seconds of a day.
const DAY_S: i64 = 24 * 3600;

/// The store, and the required promises that it does not keep and that are named in the configuration.
pub(super) async fn open(
    data: &Path,
    config: &config::Storage,
    kek: Kek,
) -> Result<(ObjectStore, Vec<String>), Failure> {
    if !config.is_s3() {
        let store = ObjectStore::open(&data.join("objects"), kek);
        return Ok((store.map_err(|e| failed("storage", &e))?, Vec::new()));
    }
    let (bucket, without) = fit_bucket(config, None).await?;
    Ok((ObjectStore::in_bucket(bucket, options(config), kek), without))
}

/// The place that a store is moved to, tried as at a start. Credentials are the usual ones where none are given.
pub(crate) async fn destination(
    config: &config::Storage,
    credentials: Option<Secret>,
    kek: Kek,
) -> Result<ObjectStore, Failure> {
    let (bucket, _without) = fit_bucket(config, credentials).await?;
    Ok(ObjectStore::in_bucket(bucket, options(config), kek))
}

/// The store to read all of it; nothing is made, cleared away or tried.
pub(crate) async fn source(
    data: &Path,
    config: &config::Storage,
    kek: Kek,
) -> Result<ObjectStore, Failure> {
    if !config.is_s3() {
        return Ok(ObjectStore::read_only(&data.join("objects"), kek));
    }
    let bucket = connect(config, None).await.map_err(|e| failed("storage", &e))?;
    Ok(ObjectStore::in_bucket(bucket, options(config), kek))
}

fn options(config: &config::Storage) -> BucketOptions {
    let lock_s = (config.lock_days > 0).then(|| i64::from(config.lock_days) * DAY_S);
    BucketOptions { prefix: config.prefix.clone(), lock_s }
}

/// The configured bucket, whose promises were tried, and those that it does not keep and that are named.
async fn fit_bucket(
    config: &config::Storage,
    credentials: Option<Secret>,
) -> Result<(Bucket, Vec<String>), Failure> {
    let bucket = connect(config, credentials).await.map_err(|e| failed("storage", &e))?;
    let report = probe(&bucket, |_| ()).await.map_err(|e| failed("storage", &e))?;
    let without = shortfalls(&report, config)?;
    Ok((bucket, without))
}

/// The same store to look at names and lengths, for which no key is needed; nothing is made, cleared away or tried.
pub(crate) async fn look_at(data: &Path, config: &config::Storage) -> Result<ObjectStore, S3Error> {
    let no_key = Kek::new([0; 32].into());
    if !config.is_s3() {
        return Ok(ObjectStore::read_only(&data.join("objects"), no_key));
    }
    Ok(ObjectStore::in_bucket(connect(config, None).await?, options(config), no_key))
}

/// The configured bucket. Credentials are the usual ones where none are given.
pub(crate) async fn connect(
    config: &config::Storage,
    credentials: Option<Secret>,
) -> Result<Bucket, S3Error> {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let place = Place {
        bucket: config.bucket.clone(),
        endpoint: some(&config.endpoint),
        region: some(&config.region),
        path_style: config.path_style,
        ca_file: some(&config.ca_file).map(Into::into),
        credentials,
    };
    Bucket::connect(&place).await
}

/// The promises that do not hold, each of which the configuration must name if evidence rests on it.
fn shortfalls(report: &Report, config: &config::Storage) -> Result<Vec<String>, Failure> {
    let broken = report.findings.iter().filter(|f| f.required && !f.outcome.holds());
    let (named, unnamed): (Vec<_>, Vec<_>) =
        broken.partition(|finding| config.without.contains(&finding.promise.name()));
    if unnamed.is_empty() {
        return Ok(named.into_iter().map(|finding| finding.promise.name()).collect());
    }
    let says = |findings: &[&Finding]| {
        let says = |f: &&Finding| format!("{} ({})", f.says, f.outcome.what().unwrap_or("-"));
        findings.iter().map(says).collect::<Vec<_>>().join("; ")
    };
    let (untried, unnamed): (Vec<_>, Vec<_>) =
        unnamed.into_iter().partition(|f| matches!(f.outcome, Outcome::CannotTell(_)));
    if unnamed.is_empty() {
        let message =
            format!("the bucket {} could not be tried: {}", report.bucket, says(&untried));
        return Err(Failure::new("storage", message).advice(
            "start again once the store answers; exhibit store probe says what came of each promise",
        ));
    }
    let names: Vec<_> = unnamed.iter().map(|f| format!("\"{}\"", f.promise.name())).collect();
    let message = format!(
        "the bucket {} does not do what evidence rests on: {}",
        report.bucket,
        says(&unnamed)
    );
    Err(Failure::new("storage", message).advice(format!(
        "use a bucket made with versions and Object Lock; or take this one as it is, which becomes an entry in the ledger: \
         {WITHOUT} = [{}]",
        names.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use storage::s3::probe::Promise;

    use super::*;

    #[test]
    fn nobody_is_told_to_give_up_what_could_not_be_tried() {
        let finding = |promise: Promise, outcome| Finding {
            promise,
            says: "a promise in words",
            required: true,
            outcome,
        };
        let failing = || Outcome::CannotTell("the store fails".to_owned());
        let ignored = || Outcome::Ignored("it was deleted".to_owned());
        let report = |outcomes: Vec<(Promise, Outcome)>| Report {
            bucket: "evidence".to_owned(),
            fit: false,
            findings: outcomes.into_iter().map(|(p, outcome)| finding(p, outcome)).collect(),
            left_behind: 0,
        };
        let config = config::Storage::default();
        let untried =
            report(vec![(Promise::Versions, Outcome::Holds), (Promise::LegalHold, failing())]);
        let refused = format!("{:?}", shortfalls(&untried, &config).unwrap_err());
        assert!(refused.contains("could not be tried"), "{refused}");
        assert!(!refused.contains(WITHOUT) && !refused.contains("does not do"), "{refused}");
        let both = report(vec![(Promise::Versions, ignored()), (Promise::LegalHold, failing())]);
        let refused = format!("{:?}", shortfalls(&both, &config).unwrap_err());
        assert!(refused.contains("does not do"), "{refused}");
        assert!(refused.contains("versions") && !refused.contains("legal-hold"), "{refused}");
    }
}
