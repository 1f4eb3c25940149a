{{- define "ringfence.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "ringfence" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-ringfence" (.Release.Name | trunc 30 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "ringfence.selector" -}}
app.kubernetes.io/name: ringfence
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ringfence.labels" -}}
{{ include "ringfence.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "ringfence.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* A setting's value as its variable wants it. JSON writes large numbers out, where a template would write 1e+06. */ -}}
{{- define "ringfence.value" -}}
{{- if kindIs "slice" . -}}{{- join "," . -}}{{- else if kindIs "string" . -}}{{- . -}}{{- else -}}{{- toJson . -}}{{- end -}}
{{- end -}}

{{- /* The Secret with the webhook's certificate, unless Ringfence reads and writes it itself. */ -}}
{{- define "ringfence.admissionSecret" -}}
{{- if eq .Values.admission.certificate "CertManager" -}}
{{- include "ringfence.name" . -}}-admission-tls
{{- else -}}
{{- .Values.admission.secret.name -}}
{{- end -}}
{{- end -}}

{{- /* What values.schema.json cannot say so that a person understands it. */ -}}
{{- define "ringfence.check" -}}
{{- with .Values.tls -}}
{{- if and .clientAuthority.secretName (not .secretName) -}}
{{- fail "tls.clientAuthority.secretName: client certificates need TLS: name the Secret with the server's certificate in tls.secretName, too" -}}
{{- end -}}
{{- if and .clientNames (not .clientAuthority.secretName) -}}
{{- fail "tls.clientNames: names are read from client certificates: name the authority that signs them in tls.clientAuthority.secretName, too" -}}
{{- end -}}
{{- end -}}
{{- with .Values.admission -}}
{{- if and .enabled (eq .certificate "Secret") (not (and .secret.name .secret.caBundle)) -}}
{{- fail "admission.secret: name the Secret with the webhook's certificate, and give the authority that signed it in caBundle (PEM, in base64)" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.checksFrom) -}}
{{- fail "networkPolicy.checksFrom: say which gateways may ask, as peers of a NetworkPolicy; without any, every request would be refused" -}}
{{- end -}}
{{- with .Values.monitoring -}}
{{- if and .prometheusRule.enabled (hasPrefix "azmonitoring" .apiVersion) -}}
{{- fail "monitoring.prometheusRule.enabled: Azure's managed Prometheus has no such kind: make a rule group of the chart's files/alerts.yaml, and turn this off" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (lt (int .Values.autoscaling.maxReplicas) (int .Values.autoscaling.minReplicas)) -}}
{{- fail "autoscaling.maxReplicas: it must not be less than autoscaling.minReplicas" -}}
{{- end -}}
{{- end -}}

{{- /* Checks go to this Service's port by this protocol. */ -}}
{{- define "ringfence.protocol" -}}
{{- if .root.Values.tls.secretName -}}https{{- else -}}{{ .plain }}{{- end -}}
{{- end -}}
