//! Settings that contradict each other.

use super::{
    Config,
    error::{ConfigError, Source, Stated},
};

/// Finds the first contradiction.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let server = &config.settings.server.server;
    let [min, max, default] = ["ttl.min_secs", "ttl.max_secs", "ttl.default_secs"].map(|key| config.stated(key));
    ordered(server.ttl_min > server.ttl_max, &min, &max)?;
    // One that nobody has set follows the bounds.
    if default.source != Source::Default {
        ordered(server.ttl_min > server.ttl_default, &min, &default)?;
        ordered(server.ttl_default > server.ttl_max, &default, &max)?;
    }

    let record = config.stated("records.bytes_max");
    let is_above = server.record_limits.envelope_bytes_max > config.settings.server.request_bytes_max;
    if record.source != Source::Default {
        ordered(is_above, &record, &config.stated("streams.request_bytes_max"))?;
    }

    let rates = &config.settings.rates;
    let frequencies = [
        (&rates.per_peer, "rate.per_peer.period_millis", "rate.per_peer.burst"),
        (&rates.per_prefix, "rate.per_prefix.period_millis", "rate.per_prefix.burst"),
    ];
    for (frequency, period, burst) in frequencies {
        let (period, burst) = (config.stated(period), config.stated(burst));
        let is_alone = period.source != Source::Default && burst.source == Source::Default;
        if frequency.burst.is_none() && is_alone {
            return Err(ConfigError::RateWithoutBurst { period: period.into(), burst: burst.into() });
        }
    }
    check_policies(config, &min, &max)
}

fn check_policies(config: &Config, min: &Stated, max: &Stated) -> Result<(), ConfigError> {
    let server = &config.settings.server.server;
    for (index, written) in config.policies.iter().enumerate() {
        let policy = written.policy();
        let own_min = written.stated("ttl_min_secs").unwrap_or_else(|| min.clone());
        let own_max = written.stated("ttl_max_secs").unwrap_or_else(|| max.clone());
        let is_above = policy.ttl_min.unwrap_or(server.ttl_min) > policy.ttl_max.unwrap_or(server.ttl_max);
        ordered(is_above, &own_min, &own_max)?;
        let mut earlier = config.policies.iter().take(index);
        let same = earlier.find(|earlier| earlier.policy().pattern == policy.pattern);
        if let (Some(first), Some(again)) = (same.and_then(|same| same.stated_pattern()), written.stated_pattern()) {
            return Err(ConfigError::PolicyTwice { first: first.into(), again: again.into() });
        }
    }
    Ok(())
}

fn ordered(is_above: bool, one: &Stated, other: &Stated) -> Result<(), ConfigError> {
    match is_above {
        true => Err(ConfigError::Above { one: one.clone().into(), other: other.clone().into() }),
        false => Ok(()),
    }
}
