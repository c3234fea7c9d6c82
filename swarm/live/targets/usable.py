"""What can be known of a target without asking it."""

from __future__ import annotations

from swarm.config.target import TargetConfig
from swarm.live.targets.body import body_writer
from swarm.live.targets.openai import api_key
from swarm.live.targets.transport.proxy import proxy_of
from swarm.live.targets.transport.tls import client_context


def check_target(config: TargetConfig) -> None:
    """Look at the key, certificates, proxy and tokenizer that a target names, before anything starts.

    Raises:
        ConfigError: One of them is not there, or cannot be used.
    """
    api_key(config)
    if any(url.startswith("https:") for url in (*config.urls, *config.metrics_urls)):
        client_context(config.ca_file, verify=config.verify)
    for url in config.urls:
        proxy_of(url, config.proxy)
    body_writer(config)
