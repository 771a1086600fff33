# What training on a GPU runs in: CUDA 12.8 with its compiler, Python, exactly the packages of
# requirements-gpu.txt, and the vLLM that ART starts beside them.
#
# ZenML builds a second image on this one. That adds our code and whatever settings.docker.requirements
# names, and ends with settings.docker.user. So this image holds no code and must end as root: as
# another user, ZenML's own COPY and chmod would fail.
#
# devel, not runtime: Triton and FlashInfer compile kernels for the card they find.
FROM nvidia/cuda:12.8.1-devel-ubuntu24.04

# The version that requirements-gpu.txt has: ART installs its vLLM with it.
COPY --from=ghcr.io/astral-sh/uv:0.13.9 /uv /usr/local/bin/uv

ENV UV_PYTHON_INSTALL_DIR=/opt/python \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /opt/art-rl
COPY requirements-gpu.txt .

# ZenML installs with the pip that --seed leaves there. The lock names everything, so there are no
# dependencies to look for; pip check says if it did not.
RUN uv venv --seed --python 3.11.14 /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    VIRTUAL_ENV=/opt/venv
RUN uv pip install --no-deps -r requirements-gpu.txt && pip check

# What ZenML installs on top must agree with the lock, or the build fails.
ENV PIP_CONSTRAINT=/opt/art-rl/requirements-gpu.txt

# Now, not in every pod that starts: ART downloads it at the first use otherwise. It takes a lock there
# whenever it looks, so the folder must be writable; what it installs only root may read.
ENV ART_VLLM_RUNTIME_CACHE_DIR=/opt/art-vllm \
    LITELLM_LOCAL_MODEL_COST_MAP=True
RUN python -c "from art.vllm_runtime import ensure_vllm_runtime; ensure_vllm_runtime()" \
    && chmod -R a+rX /opt/art-vllm /opt/python && chmod a+w /opt/art-vllm /opt/art-vllm/.install.lock

# Libraries look their user up by name.
RUN useradd --uid 10001 --create-home --home-dir /home/agent --shell /usr/sbin/nologin agent
ENV HOME=/home/agent \
    USER=agent \
    LOGNAME=agent \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONUNBUFFERED=1 \
    GIT_PYTHON_REFRESH=quiet \
    OMP_WAIT_POLICY=PASSIVE \
    TOKENIZERS_PARALLELISM=false \
    ZENML_ANALYTICS_OPT_IN=false
