{{/* Labels of every object; call with (dict "root" $ "component" "operator"). */}}
{{- define "gastown.labels" -}}
app.kubernetes.io/name: gastown
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: gastown
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* What selects a pod of ours; never changes, since selectors of a Deployment and a StatefulSet are immutable. */}}
{{- define "gastown.selector" -}}
app.kubernetes.io/name: gastown
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "gastown.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "gastown.repoUrl" -}}
{{ .Values.repoServer.url | default (printf "http://repo.%s.svc:8080" .Release.Namespace) | trimSuffix "/" }}
{{- end }}

{{- define "gastown.townNames" -}}
{{- $names := list }}{{ range .Values.towns }}{{ $names = append $names .name }}{{ end }}{{ join "," $names }}
{{- end }}

{{/* Pod and container settings that the restricted Pod Security standard asks for. */}}
{{- define "gastown.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "gastown.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The pod's own address: on a laptop many pods share one network, so nothing of ours listens on all addresses. */}}
{{- define "gastown.listenEnv" -}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- {name: GASTOWN_LISTEN_HOST, value: $(POD_IP)}
- {name: HOME, value: /var/tmp/gastown}
- {name: TMPDIR, value: /var/tmp/gastown}
{{- end }}
