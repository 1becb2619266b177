{{- define "service-center.name" -}}
{{- .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "service-center.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "service-center.selectorLabels" -}}
app.kubernetes.io/name: {{ include "service-center.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "service-center.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "service-center.selectorLabels" . }}
{{- end -}}

{{- define "service-center.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "service-center.fullname" .) -}}
{{- end -}}

{{- define "service-center.scheme" -}}
{{- if .Values.tls.enabled }}HTTPS{{ else }}HTTP{{ end -}}
{{- end -}}

{{/* The address to listen on, as a URL has it. */}}
{{- define "service-center.listenHost" -}}
{{- if contains ":" .Values.listenAddress }}[{{ .Values.listenAddress }}]{{ else }}{{ .Values.listenAddress }}{{ end -}}
{{- end -}}

{{- define "service-center.metricsPort" -}}
{{- if .Values.metrics.port }}metrics{{ else }}http{{ end -}}
{{- end -}}

{{/* How the kubelet asks the node at this path. It has no certificate, so with verifyClient the node asks itself. */}}
{{- define "service-center.probe" -}}
{{- if and .root.Values.tls.enabled .root.Values.tls.verifyClient -}}
exec:
  command: ["service-center", "check-health"]
timeoutSeconds: 6
{{- else -}}
httpGet:
  path: {{ .path }}
  port: http
  scheme: {{ include "service-center.scheme" .root }}
timeoutSeconds: 3
{{- end -}}
{{- end -}}

{{/* Combinations that the schema cannot express. */}}
{{- define "service-center.check" -}}
{{- if and (eq .Values.store.kind "etcd") (not .Values.store.etcd.endpoints) -}}
{{- fail "store.etcd.endpoints is empty; write the addresses of etcd, or set store.kind to embedded" -}}
{{- end -}}
{{- if and (contains "https://" (join "," .Values.store.etcd.endpoints)) (not .Values.store.etcd.tls.secret) -}}
{{- fail "https:// in store.etcd.endpoints needs store.etcd.tls.secret, a secret with ca.crt" -}}
{{- end -}}
{{- if and (eq .Values.store.kind "embedded") (gt (int .Values.replicas) 1) -}}
{{- fail "the embedded store has one node; set replicas to 1, or store.kind to etcd" -}}
{{- end -}}
{{- if and .Values.tls.enabled (not .Values.tls.secret) -}}
{{- fail "tls.enabled needs tls.secret, a secret with tls.crt and tls.key" -}}
{{- end -}}
{{- if and .Values.accounts.enabled (not .Values.accounts.keysSecret) -}}
{{- fail "accounts.enabled needs accounts.keysSecret, a secret with private.key and public.key" -}}
{{- end -}}
{{- if gt (add .Values.drain.seconds 12) (int .Values.drain.gracePeriodSeconds) -}}
{{- fail "drain.gracePeriodSeconds is too short; write at least drain.seconds + 12, because a stop takes up to 10 s" -}}
{{- end -}}
{{- end -}}
