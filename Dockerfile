# One image for all roles: `docker run slipway server`, `runner`, `agent`.
# `make image` builds the program and then this.

ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
# git fetches sources and serves the built-in host; forges are reached by TLS.
# A base image that has git is taken as it is.
RUN if ! command -v git >/dev/null; then \
		apt-get update && apt-get install -y --no-install-recommends ca-certificates git && rm -rf /var/lib/apt/lists/*; \
	fi \
	&& mkdir -p /var/lib/slipway && chown 65532:65532 /var/lib/slipway && chmod 0700 /var/lib/slipway
COPY LICENSE /usr/share/doc/slipway/
COPY bin/slipway /usr/local/bin/slipway
ENV SLIPWAY_DATA=/var/lib/slipway \
	SLIPWAY_LISTEN=0.0.0.0:8080 \
	HOME=/var/lib/slipway
USER 65532:65532
WORKDIR /var/lib/slipway
VOLUME /var/lib/slipway
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/slipway"]
CMD ["server"]
