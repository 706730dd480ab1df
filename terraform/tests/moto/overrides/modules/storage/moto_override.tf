resource "aws_efs_backup_policy" "this" {
  count = 0
}
