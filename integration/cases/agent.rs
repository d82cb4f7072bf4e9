//! Cases of EdgeAgent, by area.

use serde_json::Value;

use super::{
    Table, Verdict, agent_around, agent_config, agent_container, agent_methods, agent_plan,
    agent_restarts, text,
};

pub(super) fn judge(_: &Table, case: &Value) -> Verdict {
    let (area, given, expect) = (text(case, "area"), &case["given"], &case["expect"]);
    match area.split('.').next().unwrap_or_default() {
        "image" | "registry" | "create_options" | "equality" | "diff" => {
            agent_config::judge(area, given, expect)
        }
        "config" if area != "config.patch" => agent_config::judge(area, given, expect),
        "container" => agent_container::judge(area, given, expect),
        "restart" => agent_restarts::judge(area, given, expect),
        "plan" | "plan_runner" => agent_plan::judge(area, given, expect),
        "request" | "logs" => agent_methods::judge(area, given, expect),
        _ => agent_around::judge(area, given, expect),
    }
}
