output "buckets" {
  description = "Buckets by use: images, caches, logs."
  value       = { for name, bucket in aws_s3_bucket.this : name => bucket.bucket }
}

output "bucket_arns" {
  description = "ARNs of the buckets by use."
  value       = { for name, bucket in aws_s3_bucket.this : name => bucket.arn }
}

# Only once its policy is in place may others be told to log into the bucket.
output "log_bucket" {
  description = "Bucket that load balancers write their access logs to."
  value       = aws_s3_bucket.this["logs"].bucket

  depends_on = [aws_s3_bucket_policy.this]
}

output "file_system_id" {
  description = "Shared files."
  value       = aws_efs_file_system.this.id
}
