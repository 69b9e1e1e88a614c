//! Recipes: what is made of an original, and the id under which it is made only once.

pub use crate::protocol::{PosterParameters, ProbeParameters, ProxyParameters, Recipe};

/// What every item gets, in this order: the probe first, because it decides what the others can make.
pub fn standard() -> [Recipe; 3] {
    [
        Recipe::Probe(ProbeParameters::default()),
        Recipe::Proxy(ProxyParameters::default()),
        Recipe::Poster(PosterParameters::default()),
    ]
}
