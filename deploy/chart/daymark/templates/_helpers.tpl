{{/* Name of everything. */}}
{{- define "daymark.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end }}-agent
{{- end }}

{{/* What Pods are found by. Never change it: a DaemonSet's selector is for good. */}}
{{- define "daymark.selector" -}}
k8s-app: daymark-agent
app.kubernetes.io/name: daymark-agent
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "daymark.labels" -}}
{{ include "daymark.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "daymark.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "daymark.name" .) }}
{{- end }}

{{- define "daymark.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
