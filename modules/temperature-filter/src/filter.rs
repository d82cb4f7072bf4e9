//! Which readings pass: pure.

use edge_module_client::Message;
use serde_json::Value;

/// In force until desired properties say something else.
const DEFAULT_THRESHOLD: f64 = 25.0;

/// What becomes of a message.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It goes on, as this.
    Pass(Message),
    /// It is a reading at or below the threshold.
    Drop,
    /// It is not a reading.
    Unreadable(String),
}

/// The threshold that desired properties ask for.
pub(crate) fn threshold(desired: &Value) -> f64 {
    desired["threshold"].as_f64().unwrap_or(DEFAULT_THRESHOLD)
}

/// Passes a reading above the threshold, its body as it is, marked as an alert.
pub(crate) fn judge(message: &Message, threshold: f64) -> Verdict {
    let reading: Value = match serde_json::from_slice(&message.body) {
        Ok(reading) => reading,
        Err(error) => return Verdict::Unreadable(error.to_string()),
    };
    let Some(temperature) = reading["machine"]["temperature"].as_f64() else {
        return Verdict::Unreadable("it has no machine.temperature".into());
    };
    if temperature <= threshold {
        return Verdict::Drop;
    }
    let mut alert = Message::new(message.body.clone())
        .with_system("ct", "application/json")
        .with_system("ce", "utf-8");
    alert.properties = message.properties.clone();
    alert.properties.retain(|(name, _)| name != "MessageType");
    Verdict::Pass(alert.with("MessageType", "Alert"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reading(temperature: f64) -> Message {
        Message::json(&json!({"machine": {"temperature": temperature}})).with("sequence", 7)
    }

    #[test]
    fn only_readings_above_the_threshold_pass() {
        assert_eq!(judge(&reading(25.0), 25.0), Verdict::Drop);
        assert!(matches!(judge(&reading(25.1), 25.0), Verdict::Pass(_)));
        assert_eq!(judge(&reading(25.1), 30.0), Verdict::Drop);
    }

    #[test]
    fn what_passes_keeps_body_and_properties_and_is_marked_as_an_alert() {
        let given = reading(40.0).with("MessageType", "Telemetry");
        let Verdict::Pass(alert) = judge(&given, 25.0) else { panic!("it is above") };
        assert_eq!(alert.body, given.body);
        assert_eq!(alert.property("sequence"), Some("7"));
        assert_eq!(alert.property("MessageType"), Some("Alert"));
        assert_eq!(alert.properties.len(), 2);
        assert_eq!(alert.system[0], ("ct".into(), "application/json".into()));
    }

    #[test]
    fn what_is_no_reading_is_not_passed_and_says_why() {
        let check = |body: &'static str| judge(&Message::new(body), 25.0);
        assert!(matches!(check("not json"), Verdict::Unreadable(_)));
        assert!(matches!(check("{}"), Verdict::Unreadable(why) if why.contains("temperature")));
    }

    #[test]
    fn the_threshold_is_25_unless_desired_properties_say_a_number() {
        assert_eq!(threshold(&Value::Null), 25.0);
        assert_eq!(threshold(&json!({"threshold": 30})), 30.0);
        assert_eq!(threshold(&json!({"threshold": "30"})), 25.0);
    }
}
