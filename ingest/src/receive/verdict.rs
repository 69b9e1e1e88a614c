//! What to think of the bytes: do they fit what the dock agent signed? Pure; the keys and digests are arguments.

use chain_of_custody::claim::Label;
use chain_of_custody::digest::{Digests, Sha256};
use chain_of_custody::manifest::{DockManifest, SignedManifest};
use chain_of_custody::note::{NoteError, VerifierKey};

use super::Claims;

/// Reason codes of a quarantine: a claim failed. What they mean is in `docs/formats/statements.md`.
pub(super) mod reason {
    /// The device has a dock agent that signs, and no manifest came.
    pub(in crate::receive) const MISSING: &str = "manifest-missing";
    /// The manifest is no dock manifest.
    pub(in crate::receive) const MALFORMED: &str = "manifest-malformed";
    /// No key that this device has registered signed it.
    pub(in crate::receive) const KEY_UNKNOWN: &str = "manifest-key-unknown";
    /// The device's key is named, and the signature is wrong.
    pub(in crate::receive) const SIGNATURE: &str = "manifest-signature";
    /// The bytes that arrived are not those that the agent read.
    pub(in crate::receive) const DIFFERS: &str = "manifest-differs";
    /// The device's access was revoked between its last byte and the entry.
    pub(in crate::receive) const DEVICE_REVOKED: &str = "device-revoked";
    /// The upload's metadata claim other things than the manifest.
    pub(in crate::receive) const CLAIMS: &str = "manifest-claims";
}

/// What is found about one upload's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// A reason code; none when nothing that was claimed failed.
    pub(super) quarantine: Option<&'static str>,
    /// The manifest's claims where there is one that holds, the metadata's elsewhere.
    pub(super) claims: Claims,
    /// Of the manifest as it came.
    pub(super) manifest_sha256: Option<Sha256>,
    /// The dock agent, where its signature holds.
    pub(super) read_by: Option<Label>,
}

/// Holds bytes of these digests against the manifest that came with them, if one came.
pub(super) fn judge(
    manifest: Option<&str>,
    agent_keys: &[VerifierKey],
    claims: Claims,
    size_bytes: u64,
    digests: &Digests,
) -> Verdict {
    let plain = Verdict { quarantine: None, claims, manifest_sha256: None, read_by: None };
    let Some(note) = manifest else {
        // Who has registered a key signs: a stolen token alone must not pass for the agent.
        let quarantine = (!agent_keys.is_empty()).then_some(reason::MISSING);
        return Verdict { quarantine, ..plain };
    };
    let failed = |code| Verdict {
        quarantine: Some(code),
        manifest_sha256: Some(Sha256::of(note.as_bytes())),
        ..plain.clone()
    };
    let Ok(signed) = SignedManifest::parse(note.as_bytes()) else {
        return failed(reason::MALFORMED);
    };
    let manifest = match signed.verify(agent_keys) {
        Ok(manifest) => manifest,
        Err(NoteError::NoTrustedSignature) => return failed(reason::KEY_UNKNOWN),
        Err(_) => return failed(reason::SIGNATURE),
    };
    let read_by = agent_keys.iter().find(|key| signed.verify(std::slice::from_ref(*key)).is_ok());
    let claims = merge(manifest, &plain.claims);
    let quarantine = if manifest.digests != *digests || manifest.size_bytes != size_bytes {
        Some(reason::DIFFERS)
    } else if claims.is_none() {
        Some(reason::CLAIMS)
    } else {
        None
    };
    Verdict {
        quarantine,
        claims: claims.unwrap_or(plain.claims),
        manifest_sha256: Some(signed.sha256()),
        read_by: read_by.and_then(|key| Label::new(key.name().as_str()).ok()),
    }
}

/// What the agent signed, with what only the metadata say beside it; none when the two contradict each other.
fn merge(manifest: &DockManifest, claims: &Claims) -> Option<Claims> {
    let one = |signed: Option<String>, said: &Option<String>| match (signed, said) {
        (Some(signed), Some(said)) if signed != *said => None,
        (signed, said) => Some(signed.or_else(|| said.clone())),
    };
    let label = |label: &Option<Label>| label.as_ref().map(|label| label.as_str().to_owned());
    let seq_agrees = claims.agent_seq.is_none_or(|said| said == manifest.agent_seq);
    Some(Claims {
        name: Some(manifest.name.as_str().to_owned()),
        media_type: claims.media_type.clone(),
        camera: one(label(&manifest.camera), &claims.camera)?,
        recording: one(label(&manifest.recording), &claims.recording)?,
        captured: one(
            manifest.captured_claimed.as_ref().map(ToString::to_string),
            &claims.captured,
        )?,
        restricted: claims.restricted,
        agent_seq: seq_agrees.then_some(manifest.agent_seq).map(Some)?,
        source_seq: one(label(&manifest.source_seq), &claims.source_seq)?,
    })
}

#[cfg(test)]
mod tests {
    use chain_of_custody::claim::GivenName;
    use chain_of_custody::note::{Signer as _, SigningKey};

    use super::*;

    const BYTES: &[u8] = b"footage";

    fn agent(seed: u8) -> SigningKey {
        SigningKey::from_seed("agent-1", [seed; 32]).unwrap()
    }

    fn manifest() -> DockManifest {
        DockManifest {
            name: GivenName::new("clip.mp4").unwrap(),
            size_bytes: BYTES.len() as u64,
            digests: Digests::of(BYTES),
            camera: Some(Label::new("AXW100").unwrap()),
            recording: None,
            captured_claimed: None,
            agent_seq: 7,
            source_seq: None,
        }
    }

    fn found(note: &str, claims: Claims) -> Option<&'static str> {
        judge(Some(note), &[agent(1).vkey()], claims, BYTES.len() as u64, &Digests::of(BYTES))
            .quarantine
    }

    #[test]
    fn bytes_that_are_what_the_agent_signed() {
        let note = manifest().sign(&agent(1)).unwrap().to_string();
        let keys = [agent(1).vkey()];
        let claims = Claims { recording: Some("R1".into()), ..Claims::default() };
        let verdict = judge(Some(&note), &keys, claims, BYTES.len() as u64, &Digests::of(BYTES));
        assert_eq!(verdict.quarantine, None);
        assert_eq!(verdict.claims.camera.as_deref(), Some("AXW100"));
        assert_eq!(
            verdict.claims.recording.as_deref(),
            Some("R1"),
            "what only the metadata say is kept"
        );
        assert_eq!(verdict.claims.agent_seq, Some(7));
        assert_eq!(verdict.read_by.unwrap().as_str(), "agent-1");
        assert_eq!(verdict.manifest_sha256, Some(Sha256::of(note.as_bytes())));
    }

    #[test]
    fn each_failed_claim_has_its_code() {
        let good = manifest().sign(&agent(1)).unwrap().to_string();
        let other_bytes = DockManifest { digests: Digests::of(b"other"), ..manifest() };
        let other_size = DockManifest { size_bytes: 8, ..manifest() };
        let camera = Claims { camera: Some("OTHER".into()), ..Claims::default() };
        let seq = Claims { agent_seq: Some(8), ..Claims::default() };
        let none = Claims::default;
        let sign = |m: DockManifest, seed| m.sign(&agent(seed)).unwrap().to_string();
        let cases = [
            ("not_a_note", "hello".to_owned(), none(), reason::MALFORMED),
            ("text_changed", good.replace("clip.mp4", "clip.mp3"), none(), reason::SIGNATURE),
            ("another_key", sign(manifest(), 2), none(), reason::KEY_UNKNOWN),
            ("other_bytes", sign(other_bytes, 1), none(), reason::DIFFERS),
            ("other_size", sign(other_size, 1), none(), reason::DIFFERS),
            ("other_camera", good.clone(), camera, reason::CLAIMS),
            ("other_agent_seq", good, seq, reason::CLAIMS),
        ];
        for (name, note, claims, code) in cases {
            assert_eq!(found(&note, claims), Some(code), "{name}");
        }
    }

    #[test]
    fn no_manifest_is_no_fault_where_nobody_signs() {
        let judge = |keys: &[VerifierKey]| {
            judge(None, keys, Claims::default(), 7, &Digests::of(BYTES)).quarantine
        };
        assert_eq!(judge(&[]), None);
        assert_eq!(judge(&[agent(1).vkey()]), Some(reason::MISSING));
    }
}
