# What the deployed agent runs in: Python and exactly the packages of requirements.txt.
#
# ZenML builds a second image on this one. That adds our code and whatever settings.docker.requirements
# names, and ends with settings.docker.user. So this image holds no code and must end as root: as
# another user, ZenML's own COPY and chmod would fail.
FROM python:3.11.14-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /opt/art-rl
COPY requirements.txt .

# PyPI's torch asks for some 3 GB of CUDA packages, which requirements.txt leaves out. The CPU build
# of the same version needs none. The lock names everything, so pip has no dependencies to look for;
# pip check says if it did not.
RUN pip install --no-deps --index-url https://download.pytorch.org/whl/cpu \
        "$(grep -oE '^torch==[0-9.]+' requirements.txt)" \
    && pip install --no-deps --only-binary :all: -r requirements.txt \
    && pip check

# What ZenML installs on top must agree with the lock, or the build fails.
ENV PIP_CONSTRAINT=/opt/art-rl/requirements.txt

# The Docker deployer runs the container as the user who deploys, whom this image does not know:
# the name and a home that can be written come from here.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin agent
ENV HOME=/tmp \
    USER=agent \
    LOGNAME=agent \
    PYTHONUNBUFFERED=1 \
    GIT_PYTHON_REFRESH=quiet \
    LITELLM_LOCAL_MODEL_COST_MAP=True \
    OMP_WAIT_POLICY=PASSIVE \
    TOKENIZERS_PARALLELISM=false \
    ZENML_ANALYTICS_OPT_IN=false

EXPOSE 8000
HEALTHCHECK --start-period=120s --interval=10s --timeout=5s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
