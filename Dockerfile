# Python, Ray and Swarm in one image, for KubeRay (deploy/rayjob.yaml) or any node:
#   docker build -t REGISTRY/swarm:1 . && docker push REGISTRY/swarm:1
# docs/kubernetes.md says the rest. Python and Ray must be the same on every node of a cluster, and in
# whoever joins it: change both here, and `rayVersion` in deploy/rayjob.yaml with them.
FROM python:3.11-slim-bookworm

ARG RAY_VERSION=2.60.0

# gcc compiles what a simulated request costs; KubeRay's probes of a pod's health call wget.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc libc6-dev wget \
 && rm -rf /var/lib/apt/lists/*

COPY . /swarm

# s3fs and gcsfs take results to s3:// and gs:// (`--out`), and traces from there.
# Into the system's Python: KubeRay's login shells (bash -lc) know no other PATH.
RUN pip install --no-cache-dir "ray[default]==${RAY_VERSION}" "/swarm[tokenizer]" s3fs gcsfs \
 && swarm --version

RUN useradd --create-home --uid 1000 --gid users swarm \
 && install --directory --owner=1000 --group=users /results
USER 1000
WORKDIR /home/swarm
