# ssast on CPUs, run by a user without rights.
#   docker build --build-arg TORCH_INDEX=ADDRESS -t ssast .     ADDRESS of PyTorch's builds for CPUs: a smaller image
#   docker run --rm -v "$PWD:/data" ssast finetune -i recordings -d splits ...
FROM python:3.11-slim AS build
ARG TORCH_INDEX=""
WORKDIR /source
RUN python -m venv /opt/ssast
ENV PIP_NO_CACHE_DIR=1 PIP_EXTRA_INDEX_URL=$TORCH_INDEX
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY src ./src
RUN /opt/ssast/bin/pip install --constraint requirements.lock '.[cloud,lora,report]'

FROM python:3.11-slim
COPY --from=build /opt/ssast /opt/ssast
RUN useradd --create-home --uid 1000 ssast && mkdir /data && chown ssast /data
ENV PATH="/opt/ssast/bin:$PATH" PYTHONUNBUFFERED=1
USER ssast
WORKDIR /data
ENTRYPOINT ["ssast"]
CMD ["--help"]
