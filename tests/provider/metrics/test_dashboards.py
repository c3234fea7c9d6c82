"""What dashboards, autoscalers and gateways ask of vLLM's counters is exported, or known not to be and why.

Metrics and labels are those of the published queries: vLLM's `examples/online_serving` (`prometheus_grafana/
grafana.json`, `dashboards/grafana/performance_statistics.json` and `query_statistics.json`), KEDA's in vLLM's
production stack and in KServe's and AWS's guides, and the model server protocol of the gateway's endpoint
picker. Two of the dashboards write `vllm_`, as exporters do that allow no colon.
"""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

NAME = re.compile(r"vllm[:_][a-z0-9_]+|http_requests_total")
GROUPED = re.compile(r"\bby ?\(([^)]*)\)")
MATCHED = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)\s*\"")

GRAFANA = """
histogram_quantile(0.99, sum by(le) (rate(vllm:e2e_request_latency_seconds_bucket{model_name="$m"}[1m])))
rate(vllm:e2e_request_latency_seconds_sum{model_name="$m"}[1m])
rate(vllm:e2e_request_latency_seconds_count{model_name="$m"}[1m])
rate(vllm:prompt_tokens_total{model_name="$m"}[1m])
rate(vllm:generation_tokens_total{model_name="$m"}[1m])
histogram_quantile(0.99, sum by(le) (rate(vllm:inter_token_latency_seconds_bucket{model_name="$m"}[1m])))
rate(vllm:inter_token_latency_seconds_sum{model_name="$m"}[1m])
rate(vllm:inter_token_latency_seconds_count{model_name="$m"}[1m])
histogram_quantile(0.99, sum by(le) (rate(vllm:time_per_output_token_seconds_bucket{model_name="$m"}[1m])))
histogram_quantile(0.99, sum by(le) (rate(vllm:time_to_first_token_seconds_bucket{model_name="$m"}[1m])))
rate(vllm:time_to_first_token_seconds_sum{model_name="$m"}[1m])
rate(vllm:time_to_first_token_seconds_count{model_name="$m"}[1m])
vllm:num_requests_running{model_name="$m"}
vllm:num_requests_waiting{model_name="$m"}
vllm:kv_cache_usage_perc{model_name="$m"}
vllm:gpu_cache_usage_perc{model_name="$m"}
sum by(le) (increase(vllm:request_prompt_tokens_bucket{model_name="$m"}[1m]))
sum by(le) (increase(vllm:request_generation_tokens_bucket{model_name="$m"}[1m]))
sum by(finished_reason) (increase(vllm:request_success_total{model_name="$m"}[1m]))
rate(vllm:request_queue_time_seconds_sum{model_name="$m"}[1m])
rate(vllm:request_prefill_time_seconds_sum{model_name="$m"}[1m])
rate(vllm:request_decode_time_seconds_sum{model_name="$m"}[1m])
rate(vllm:request_max_num_generation_tokens_sum{model_name="$m"}[1m])
"""
STATISTICS = """
sum by (model_name) (rate(vllm_request_success_total{model_name=~"$m"}[1m]))
histogram_quantile(0.90, sum by(le, model_name) (rate(vllm_e2e_request_latency_seconds_bucket[1m])))
rate(vllm_e2e_request_latency_seconds_sum[1m]) / rate(vllm_e2e_request_latency_seconds_count[1m])
histogram_quantile(0.90, sum by(le) (rate(vllm_time_to_first_token_seconds_bucket[1m])))
rate(vllm_time_to_first_token_seconds_sum[1m]) / rate(vllm_time_to_first_token_seconds_count[1m])
histogram_quantile(0.90, sum by(le) (rate(vllm_inter_token_latency_seconds_bucket[1m])))
rate(vllm_inter_token_latency_seconds_sum[1m]) / rate(vllm_inter_token_latency_seconds_count[1m])
histogram_quantile(0.50, sum by(le, model_name) (rate(vllm_request_prompt_tokens_bucket[1m])))
sum by (model_name) (rate(vllm_prompt_tokens_total{model_name=~"$m"}[1m]))
sum by (model_name) (rate(vllm_generation_tokens_total{model_name=~"$m"}[1m]))
rate(vllm_iteration_tokens_total_count[1m])
"""
AUTOSCALERS = """
vllm:num_requests_waiting
sum(vllm:num_requests_running{model_name="$m"})
vllm:kv_cache_usage_perc
histogram_quantile(0.95, sum(rate(vllm:e2e_request_latency_seconds_bucket[1m])) by (le))
"""
GATEWAY = """
vllm:num_requests_waiting
vllm:num_requests_running
vllm:kv_cache_usage_perc
vllm:cache_config_info{block_size="", num_gpu_blocks=""}
vllm:lora_requests_info{max_lora="", running_lora_adapters="", waiting_lora_adapters=""}
"""
ENGINE = """
vllm:num_requests_waiting_by_reason{engine="", reason=""}
vllm:engine_sleep_state{engine="", sleep_state=""}
vllm:num_preemptions_total{engine=""}
vllm:prefix_cache_queries_total{engine=""}
vllm:prefix_cache_hits_total{engine=""}
vllm:external_prefix_cache_queries_total{engine=""}
vllm:external_prefix_cache_hits_total{engine=""}
vllm:prompt_tokens_by_source_total{engine="", source=""}
vllm:prompt_tokens_cached_total{engine=""}
vllm:prompt_tokens_cached_by_source_total{engine="", source=""}
vllm:request_params_n_bucket{engine="", le=""}
vllm:request_params_max_tokens_bucket{engine="", le=""}
vllm:request_max_num_generation_tokens_bucket{engine="", le=""}
vllm:request_time_per_output_token_seconds_bucket{engine="", le=""}
vllm:request_inference_time_seconds_bucket{engine="", le=""}
vllm:request_prefill_kv_computed_tokens_bucket{engine="", le=""}
vllm:iteration_tokens_total_bucket{engine="", le=""}
vllm:request_num_preemptions_bucket{engine="", le=""}
vllm:mm_cache_queries_total{engine=""}
vllm:mm_cache_hits_total{engine=""}
vllm:admission_rejections_total{reason=""}
"""
"""What vLLM 0.32 exports without any option, beside what the dashboards ask for."""

NOT_MODELLED = {
    "vllm:time_per_output_token_seconds_bucket": "vLLM has dropped it for inter_token_latency_seconds",
    "vllm:gpu_cache_usage_perc": "vLLM has dropped it for kv_cache_usage_perc",
    "vllm:request_num_preemptions_bucket": "preemptions are counted by rank, not by request",
    "vllm:mm_cache_queries_total": "images and sound are counted as text",
    "vllm:mm_cache_hits_total": "images and sound are counted as text",
    "vllm:admission_rejections_total": "refusals are swarm:requests_refused_total, by status",
}


def asked(query: str) -> tuple[list[str], set[str]]:
    """Return a query's metrics as vLLM writes them, and the labels that it looks at."""
    names = [re.sub(r"^vllm_", "vllm:", name) for name in NAME.findall(query)]
    labels = set(MATCHED.findall(query))
    for group in GROUPED.findall(query):
        labels |= {name.strip() for name in group.split(",")}
    return names, labels


def samples(desk: SimpleNamespace) -> dict[str, list[set[str]]]:
    async def main() -> str:
        async with desk.serving(desk.fleet(serving={"adapters": ["a"]})) as served:
            await served.client.post("/v1/completions", json={"prompt": "x" * 400, "max_tokens": 5})
            return str((await served.client.get("/metrics")).text)

    found: dict[str, list[set[str]]] = {}
    for name, labels in re.findall(r"^([a-z0-9:_]+)(?:\{(.*)\})? \S+$", desk.run(main), re.MULTILINE):
        found.setdefault(name, []).append(set(re.findall(r'([a-z_]+)="', labels)))
    return found


@pytest.mark.parametrize("queries", [GRAFANA, STATISTICS, AUTOSCALERS, GATEWAY, ENGINE])
def test_each_metric_and_label_of_a_query_is_exported_or_known_not_to_be(
    desk: SimpleNamespace, queries: str
) -> None:
    found = samples(desk)
    for query in queries.strip().splitlines():
        names, labels = asked(query)
        assert names, query
        for name in names:
            if name in NOT_MODELLED:
                assert name not in found, f"{name} is exported: it is not one that is left out"
                continue
            assert name in found, f"{query}: {name} is not exported"
            assert all(labels <= each for each in found[name]), f"{query}: {found[name][0]} lacks {labels}"


def test_hits_by_source_add_up_to_hits(desk: SimpleNamespace) -> None:
    async def main() -> str:
        async with desk.serving(desk.fleet()) as served:
            for _ in range(2):
                await served.client.post("/v1/completions", json={"prompt": "x" * 400, "max_tokens": 1})
            return str((await served.client.get("/metrics")).text)

    text = desk.run(main)
    by_source = re.findall(
        r'^vllm:prompt_tokens_cached_by_source_total\{.*source="(\w+)"\} (\d+)', text, re.M
    )
    assert dict(by_source) == {
        "device": "96",
        "host": "0",
        "p2p": "0",
        "disk": "0",
        "external_unspecified": "0",
    }
