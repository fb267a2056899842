# One image for all roles: `docker run IMAGE server`, `runner`, `agent`.

ARG GO_IMAGE=golang:1.26-bookworm
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN CGO_ENABLED=0 go build -trimpath -tags nomsgpack -ldflags "-s -w -X main.version=${VERSION}" -o /out/slipway ./cmd/slipway

FROM ${BASE_IMAGE}
# git fetches sources and serves the built-in host; forges are reached by TLS.
RUN apt-get update \
	&& apt-get install -y --no-install-recommends ca-certificates git \
	&& rm -rf /var/lib/apt/lists/* \
	&& install -d -o 65532 -g 65532 -m 0700 /var/lib/slipway
COPY --from=build /out/slipway /usr/local/bin/slipway
COPY LICENSE /usr/share/doc/slipway/
ENV SLIPWAY_DATA=/var/lib/slipway \
	SLIPWAY_LISTEN=0.0.0.0:8080 \
	HOME=/var/lib/slipway
USER 65532:65532
WORKDIR /var/lib/slipway
VOLUME /var/lib/slipway
EXPOSE 8080
ENTRYPOINT ["slipway"]
CMD ["server"]
