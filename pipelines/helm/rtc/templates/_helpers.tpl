{{/* The beginning of the image's digest: what names and labels take. */}}
{{- define "rtc.release" -}}
{{- .Values.image | splitList "@sha256:" | last | trunc 12 -}}
{{- end -}}
