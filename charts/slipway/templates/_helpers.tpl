{{- define "slipway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels that never change, of one part: (list $ "server"). */}}
{{- define "slipway.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "slipway.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{ include "slipway.selector" . }}
{{- end -}}

{{- define "slipway.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "slipway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "slipway.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* One variable from the Secret: (list $ "SLIPWAY_X" "keyName"). */}}
{{- define "slipway.secretEnv" -}}
{{- $root := index . 0 -}}
- name: {{ index . 1 }}
  valueFrom:
    secretKeyRef:
      name: {{ $root.Values.secrets.name }}
      key: {{ index $root.Values.secrets.keys (index . 2) }}
{{- end -}}

{{/* What can't be expressed in the schema. */}}
{{- define "slipway.check" -}}
{{- $redis := .Values.redis -}}
{{- if eq $redis.bundled.enabled $redis.external.enabled -}}
{{- fail "redis: enable one of redis.bundled and redis.external" -}}
{{- end -}}
{{- if and (gt (int .Values.server.replicas) 1) (or (not .Values.server.blobURL) (hasPrefix "file:" .Values.server.blobURL)) -}}
{{- fail "server.replicas: more than one needs server.blobURL, a store that all replicas share" -}}
{{- end -}}
{{- if and .Values.forges.github.enabled (not .Values.forges.github.appID) -}}
{{- fail "forges.github.appID: GitHub is enabled, so the App's ID is needed" -}}
{{- end -}}
{{- if and .Values.forges.bitbucketServer.enabled (not .Values.forges.bitbucketServer.url) -}}
{{- fail "forges.bitbucketServer.url: Bitbucket Server is enabled, so its address is needed" -}}
{{- end -}}
{{- if and .Values.server.ingress.enabled (not .Values.server.ingress.host) -}}
{{- fail "server.ingress.host: the ingress is enabled, so its host is needed" -}}
{{- end -}}
{{- end -}}

{{- define "slipway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "slipway.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
