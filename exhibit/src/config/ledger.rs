//! `[ledger]`: who outside the force confirms it.

use chain_of_custody::note::{KeyType, VerifierKey};
use serde::{Deserialize, Serialize};
use storage::ledger::MAX_LOG_WITNESSES;

/// The settings as they are written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ledger {
    pub(crate) witnesses: Vec<String>,
    pub(crate) quorum: u32,
    pub(crate) timestamp_authorities: Vec<String>,
}

/// A log witness as the settings name it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ConfiguredWitness {
    pub(crate) key: VerifierKey,
    /// The submission prefix, without a slash at its end.
    pub(crate) url: String,
}

impl Ledger {
    /// The log witnesses; or what is wrong with the setting, in words.
    pub(crate) fn log_witnesses(&self) -> Result<Vec<ConfiguredWitness>, String> {
        if self.witnesses.len() > MAX_LOG_WITNESSES {
            return Err(format!("more than {MAX_LOG_WITNESSES}"));
        }
        let mut found: Vec<ConfiguredWitness> = Vec::new();
        for text in &self.witnesses {
            let witness = parse(text)?;
            if found.iter().any(|other| other.key.name() == witness.key.name()) {
                return Err(format!("two are called {}", witness.key.name()));
            }
            found.push(witness);
        }
        Ok(found)
    }
}

fn parse(text: &str) -> Result<ConfiguredWitness, String> {
    let (key, url) = text.split_once(' ').ok_or_else(|| format!("'{text}' is not \"VKEY URL\""))?;
    let key = VerifierKey::parse(key).map_err(|e| format!("'{text}': {e}"))?;
    if key.key_type() != KeyType::CosignatureV1 {
        return Err(format!("'{text}': this is not the key of a log witness (type 0x04)"));
    }
    let url = url.trim().trim_end_matches('/').to_owned();
    if !url.starts_with("http://") {
        return Err(format!(
            "'{text}': the address must begin with http://. All that is exchanged is signed; for https:// put a local proxy between"
        ));
    }
    Ok(ConfiguredWitness { key, url })
}

#[cfg(test)]
mod tests {
    use chain_of_custody::note::{Signer as _, SigningKey};

    use super::*;

    #[test]
    fn keys_addresses_and_names_are_checked() {
        let key = SigningKey::for_cosignatures("w.example", [1; 32]).unwrap().vkey();
        let log = SigningKey::from_seed("w.example", [1; 32]).unwrap().vkey();
        let ledger = |texts: &[String]| Ledger { witnesses: texts.to_vec(), ..Ledger::default() };
        let good = format!("{key} http://127.0.0.1:8090/");
        let found = ledger(std::slice::from_ref(&good)).log_witnesses().unwrap();
        assert_eq!(
            found,
            [ConfiguredWitness { key: key.clone(), url: "http://127.0.0.1:8090".into() }]
        );
        for bad in [
            key.to_string(),
            "http://127.0.0.1".to_owned(),
            format!("{log} http://127.0.0.1:1"),
            format!("{key} ftp://127.0.0.1"),
            format!("{key} https://witness.example"),
        ] {
            assert!(ledger(std::slice::from_ref(&bad)).log_witnesses().is_err(), "{bad}");
        }
        assert!(ledger(&[good.clone(), good]).log_witnesses().is_err(), "two of one name");
    }
}
