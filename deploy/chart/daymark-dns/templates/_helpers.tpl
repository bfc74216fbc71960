{{/* Name of everything but the Service. */}}
{{- define "daymark-dns.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end }}
{{- end }}

{{/* What Pods are found by. Never change it: a Deployment's selector is for good. */}}
{{- define "daymark-dns.selector" -}}
k8s-app: kube-dns
app.kubernetes.io/name: daymark-dns
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "daymark-dns.labels" -}}
{{ include "daymark-dns.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{/* Not k8s-app: kube-dns, by which the kube-dns Service would take them for its own. */}}
{{- define "daymark-dns.nodeLocal.selector" -}}
k8s-app: node-local-dns
app.kubernetes.io/name: daymark-node-local
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "daymark-dns.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "daymark-dns.name" .) }}
{{- end }}

{{- define "daymark-dns.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "daymark-dns.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* NET_BIND_SERVICE: port 53 without root. The image's file hands it on. */}}
{{- define "daymark-dns.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
  add: [NET_BIND_SERVICE]
{{- end }}

{{/*
/ready is 503 from the moment that a Pod is told to end. Only once the kubelet has seen that do
proxies let go of the UDP flows that they send to it (conntrack keeps them on a Pod that is ending and
still serving), so it has to be seen well within lameduck: 3 s, and a moment for the proxies.
*/}}
{{- define "daymark-dns.probes" -}}
livenessProbe:
  httpGet:
    path: /health
    port: 8080
  initialDelaySeconds: 60
  timeoutSeconds: 5
  failureThreshold: 5
readinessProbe:
  httpGet:
    path: /ready
    port: 8181
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 3
{{- end }}
