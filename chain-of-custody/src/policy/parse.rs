//! Reading the policy file line by line. Bytes above 0x7F are opaque, as the specification wants.

use std::collections::BTreeSet;

use super::{
    Group, MAX_DEFINITIONS, MAX_POLICY_BYTES, POLICY, Policy, PolicyLog, PolicyName, PolicyWitness,
    Quorum, check_role,
};
use crate::malformed::Malformed;
use crate::note::{KeyType, VerifierKey};

/// The predefined quorum, which no witness or group may be called.
const NONE: &[u8] = b"none";

pub(super) fn parse(bytes: &[u8]) -> Result<Policy, Malformed> {
    if bytes.len() > MAX_POLICY_BYTES {
        return Err(fault("it is too long"));
    }
    if bytes.iter().any(|&b| (b < 0x20 && b != b'\t' && b != b'\n') || b == 0x7f) {
        return Err(fault("it holds a control character"));
    }
    let lines = match bytes {
        [] => return Err(fault("it has no quorum line")),
        [lines @ .., b'\n'] => lines,
        _ => return Err(fault("the last line has no newline")),
    };
    let mut reader = Reader::default();
    lines.split(|&b| b == b'\n').try_for_each(|line| reader.line(line))?;
    Ok(Policy {
        bytes: bytes.to_vec(),
        logs: reader.logs,
        witnesses: reader.witnesses,
        groups: reader.groups,
        quorum: reader.quorum.ok_or(fault("it has no quorum line"))?,
    })
}

#[derive(Default)]
struct Reader {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: std::collections::BTreeMap<PolicyName, Group>,
    /// Witnesses and groups that a group has taken; each counts in one way only.
    taken: BTreeSet<PolicyName>,
    quorum: Option<Quorum>,
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Result<(), Malformed> {
        let words: Vec<&[u8]> =
            line.split(|&b| b == b' ' || b == b'\t').filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", key] => self.log(key, None),
            [b"log", key, url] => self.log(key, Some(url)),
            [b"witness", name, key] => self.witness(name, key, None),
            [b"witness", name, key, url] => self.witness(name, key, Some(url)),
            [b"group", name, threshold, members @ ..] => self.group(name, threshold, members),
            [b"quorum", name] => self.quorum(name),
            [b"log" | b"witness" | b"group" | b"quorum", ..] => {
                Err(fault("a line has too few or too many words"))
            }
            _ => Err(fault("a line starts with an unknown word")),
        }
    }

    fn log(&mut self, key: &[u8], url: Option<&[u8]>) -> Result<(), Malformed> {
        let key = parse_key(key)?;
        check_role(&key, KeyType::Ed25519, "the key of a log is not of type 0x01")?;
        if self.logs.iter().any(|log| log.key.public_key() == key.public_key()) {
            return Err(fault("a log is listed twice"));
        }
        check_limit(self.logs.len())?;
        self.logs.push(PolicyLog { key, url: url.map(to_text) });
        Ok(())
    }

    fn witness(&mut self, name: &[u8], key: &[u8], url: Option<&[u8]>) -> Result<(), Malformed> {
        let name = self.new_name(name)?;
        let key = parse_key(key)?;
        check_role(&key, KeyType::CosignatureV1, "the key of a log witness is not of type 0x04")?;
        if self.witnesses.iter().any(|witness| witness.key.public_key() == key.public_key()) {
            return Err(fault("a log witness is listed twice"));
        }
        check_limit(self.witnesses.len())?;
        self.witnesses.push(PolicyWitness { name, key, url: url.map(to_text) });
        Ok(())
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], members: &[&[u8]]) -> Result<(), Malformed> {
        let name = self.new_name(name)?;
        if members.is_empty() {
            return Err(fault("a group has no members"));
        }
        let threshold = parse_threshold(threshold, members.len())?;
        let members: Vec<_> = members.iter().map(|member| PolicyName(member.to_vec())).collect();
        for member in &members {
            self.check_defined(member)?;
            if !self.taken.insert(member.clone()) {
                return Err(fault("a name is the member of two groups, or twice of one"));
            }
        }
        check_limit(self.groups.len())?;
        self.groups.insert(name, Group { threshold, members });
        Ok(())
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), Malformed> {
        if self.quorum.is_some() {
            return Err(fault("it has two quorum lines"));
        }
        self.quorum = Some(if name == NONE {
            Quorum::None
        } else {
            let name = PolicyName(name.to_vec());
            self.check_defined(&name)?;
            Quorum::Named(name)
        });
        Ok(())
    }

    fn new_name(&self, name: &[u8]) -> Result<PolicyName, Malformed> {
        let name = PolicyName(name.to_vec());
        if name.0 == NONE {
            return Err(fault("none cannot be the name of a log witness or group"));
        }
        if self.is_defined(&name) {
            return Err(fault("a name is defined twice"));
        }
        Ok(name)
    }

    fn check_defined(&self, name: &PolicyName) -> Result<(), Malformed> {
        if self.is_defined(name) {
            Ok(())
        } else {
            Err(fault("a name is used before it is defined"))
        }
    }

    fn is_defined(&self, name: &PolicyName) -> bool {
        self.groups.contains_key(name) || self.witnesses.iter().any(|witness| witness.name == *name)
    }
}

fn parse_key(word: &[u8]) -> Result<VerifierKey, Malformed> {
    let text = std::str::from_utf8(word).map_err(|_| fault("a key is not UTF-8"))?;
    VerifierKey::parse(text)
}

fn parse_threshold(word: &[u8], members: usize) -> Result<usize, Malformed> {
    let bad = fault("the threshold of a group is not all, any or a number from 1 to its members");
    let threshold = match word {
        b"all" => members,
        b"any" => 1,
        digits if digits.iter().all(u8::is_ascii_digit) && digits[0] != b'0' => {
            std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(bad)?
        }
        _ => return Err(bad),
    };
    if threshold <= members { Ok(threshold) } else { Err(bad) }
}

fn check_limit(already: usize) -> Result<(), Malformed> {
    if already < MAX_DEFINITIONS {
        Ok(())
    } else {
        Err(fault("it defines too many logs, log witnesses or groups"))
    }
}

/// Addresses have no meaning for a check; they are kept for people to read.
fn to_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const fn fault(reason: &'static str) -> Malformed {
    Malformed::new(POLICY, reason)
}
