output "arns" {
  description = "Keys by purpose: cluster, data, logs, messages."
  value       = { for purpose, key in aws_kms_key.this : purpose => key.arn }
}
